// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const smallestPart = 5 << 20 // of all parts but the last

type upload struct {
	id, bucket, key string
	headers         []header
	tagging         string
	started         time.Time
	lock            sync.Mutex
	parts           map[int]segment
	closed          bool // completed or aborted
}

func (web *service) serveUpload(
	response http.ResponseWriter, request *http.Request, holder bucket, name, key string, query url.Values,
) {
	if query.Has("uploads") {
		if request.Method != http.MethodPost {
			web.refuse(response, request)
			return
		}
		web.count("CreateMultipartUpload")
		web.createUpload(response, request, name, key)
		return
	}
	web.store.lock.RLock()
	found, exists := web.store.uploads[query.Get("uploadId")]
	web.store.lock.RUnlock()
	if !exists || found.bucket != name || found.key != key {
		fail(response, http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist.")
		return
	}
	switch request.Method {
	case http.MethodPut:
		web.count("UploadPart")
		web.uploadPart(response, request, found, query.Get("partNumber"))
	case http.MethodPost:
		web.count("CompleteMultipartUpload")
		web.completeUpload(response, request, holder, found)
	case http.MethodDelete:
		web.count("AbortMultipartUpload")
		web.abortUpload(response, found)
	case http.MethodGet:
		web.count("ListParts")
		found.listParts(response)
	default:
		web.refuse(response, request)
	}
}

func (web *service) createUpload(response http.ResponseWriter, request *http.Request, name, key string) {
	made := &upload{
		id:     "upload-" + strconv.FormatInt(web.store.nextNumber(), 36) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36),
		bucket: name, key: key, headers: headersToKeep(request), tagging: request.Header.Get("X-Amz-Tagging"),
		started: now(), parts: map[int]segment{},
	}
	web.store.lock.Lock()
	web.store.uploads[made.id] = made
	web.store.lock.Unlock()
	text := append([]byte(xmlStart), "<InitiateMultipartUploadResult>"...)
	text = element(text, "Bucket", name)
	text = element(text, "Key", key)
	text = element(text, "UploadId", made.id)
	respondXML(response, http.StatusOK, append(text, "</InitiateMultipartUploadResult>"...))
}

func (web *service) uploadPart(response http.ResponseWriter, request *http.Request, found *upload, partNumber string) {
	number, err := strconv.Atoi(partNumber)
	if err != nil || number < 1 || number > 10000 {
		fail(response, http.StatusBadRequest, "InvalidArgument", "partNumber must be between 1 and 10000")
		return
	}
	if request.Header.Get("X-Amz-Copy-Source") != "" {
		web.refuse(response, request)
		return
	}
	piece, err := web.store.saveBody(request)
	if err != nil {
		failBody(response, err)
		return
	}
	if !found.add(number, piece) {
		piece.remove()
		fail(response, http.StatusNotFound, "NoSuchUpload", "The upload was completed or aborted")
		return
	}
	setETag(response.Header(), hex.EncodeToString(piece.md5[:]))
	response.WriteHeader(http.StatusOK)
}

func (found *upload) add(number int, piece segment) bool {
	found.lock.Lock()
	defer found.lock.Unlock()
	if found.closed {
		return false
	}
	if old, exists := found.parts[number]; exists {
		old.remove()
	}
	found.parts[number] = piece
	return true
}

type completion struct {
	Parts []struct {
		PartNumber int
		ETag       string
	} `xml:"Part"`
}

func (web *service) completeUpload(response http.ResponseWriter, request *http.Request, holder bucket, found *upload) {
	var asked completion
	if err := xml.NewDecoder(request.Body).Decode(&asked); err != nil || len(asked.Parts) == 0 {
		fail(response, http.StatusBadRequest, "MalformedXML", "The XML is not well-formed")
		return
	}
	found.lock.Lock()
	defer found.lock.Unlock()
	parts, problem := found.choose(asked)
	if problem != "" {
		fail(response, http.StatusBadRequest, problem, "The list of parts does not fit the parts uploaded")
		return
	}
	stored := joinParts(found.key, parts, found.headers, found.tagging)
	if err := holder.put(stored); err != nil {
		fail(response, http.StatusForbidden, "AccessDenied", err.Error())
		return
	}
	for _, entry := range asked.Parts {
		delete(found.parts, entry.PartNumber)
	}
	web.forget(found)
	text := append([]byte(xmlStart), "<CompleteMultipartUploadResult>"...)
	text = element(text, "Bucket", found.bucket)
	text = element(text, "Key", found.key)
	text = element(text, "ETag", `"`+stored.etag+`"`)
	respondXML(response, http.StatusOK, append(text, "</CompleteMultipartUploadResult>"...))
}

// choose returns the parts asked for, or S3's code of the first thing wrong with the request. The caller holds the lock.
func (found *upload) choose(asked completion) (parts []segment, problem string) {
	if found.closed {
		return nil, "NoSuchUpload"
	}
	for i := 1; i < len(asked.Parts); i++ {
		if asked.Parts[i].PartNumber <= asked.Parts[i-1].PartNumber {
			return nil, "InvalidPartOrder"
		}
	}
	for i, entry := range asked.Parts {
		piece, exists := found.parts[entry.PartNumber]
		if !exists || strings.Trim(entry.ETag, `"`) != hex.EncodeToString(piece.md5[:]) {
			return nil, "InvalidPart"
		}
		if piece.size < smallestPart && i < len(asked.Parts)-1 {
			return nil, "EntityTooSmall"
		}
		parts = append(parts, piece)
	}
	return parts, ""
}

// forget closes the upload and removes the parts that no object took. The caller holds the upload's lock.
func (web *service) forget(found *upload) {
	found.closed = true
	for _, piece := range found.parts {
		piece.remove()
	}
	found.parts = nil
	web.store.lock.Lock()
	defer web.store.lock.Unlock()
	delete(web.store.uploads, found.id)
}

func (web *service) abortUpload(response http.ResponseWriter, found *upload) {
	found.lock.Lock()
	defer found.lock.Unlock()
	if !found.closed {
		web.forget(found)
	}
	response.WriteHeader(http.StatusNoContent)
}

func (found *upload) listParts(response http.ResponseWriter) {
	found.lock.Lock()
	defer found.lock.Unlock()
	numbers := make([]int, 0, len(found.parts))
	for number := range found.parts {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	text := append([]byte(xmlStart), "<ListPartsResult>"...)
	text = element(text, "Key", found.key)
	text = element(text, "UploadId", found.id)
	text = element(text, "IsTruncated", "false") // all in one answer: this store has no page limit for parts
	for _, number := range numbers {
		piece := found.parts[number]
		text = append(text, "<Part>"...)
		text = element(text, "PartNumber", strconv.Itoa(number))
		text = element(text, "ETag", `"`+hex.EncodeToString(piece.md5[:])+`"`)
		text = element(text, "Size", strconv.FormatInt(piece.size, 10))
		text = element(text, "LastModified", found.started.Format(timeInXML))
		text = append(text, "</Part>"...)
	}
	respondXML(response, http.StatusOK, append(text, "</ListPartsResult>"...))
}

func (web *service) listUploads(response http.ResponseWriter, name string, query url.Values) {
	web.store.lock.RLock()
	var open []*upload
	for _, found := range web.store.uploads {
		if found.bucket == name && strings.HasPrefix(found.key, query.Get("prefix")) {
			open = append(open, found)
		}
	}
	web.store.lock.RUnlock()
	sort.Slice(open, func(i, j int) bool {
		return open[i].key < open[j].key || open[i].key == open[j].key && open[i].id < open[j].id
	})
	asked := listing{urlEncoded: query.Get("encoding-type") == "url"}
	text := append([]byte(xmlStart), "<ListMultipartUploadsResult>"...)
	text = element(text, "Bucket", name)
	if asked.urlEncoded {
		text = element(text, "EncodingType", "url")
	}
	text = element(text, "IsTruncated", "false")
	for _, found := range open {
		text = append(text, "<Upload>"...)
		text = asked.element(text, "Key", found.key)
		text = element(text, "UploadId", found.id)
		text = element(text, "Initiated", found.started.Format(timeInXML))
		text = append(text, "</Upload>"...)
	}
	respondXML(response, http.StatusOK, append(text, "</ListMultipartUploadsResult>"...))
}

type tagSet struct {
	Tags []struct{ Key, Value string } `xml:"TagSet>Tag"`
}

func (web *service) serveTagging(response http.ResponseWriter, request *http.Request, holder bucket, key string) {
	stored, exists := holder.get(key)
	switch {
	case !exists:
		fail(response, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	case request.Method == http.MethodGet:
		web.count("GetObjectTagging")
		respondXML(response, http.StatusOK, renderTags(stored.tagging))
	case request.Method == http.MethodPut:
		web.count("PutObjectTagging")
		var asked tagSet
		if err := xml.NewDecoder(request.Body).Decode(&asked); err != nil {
			fail(response, http.StatusBadRequest, "MalformedXML", "The XML is not well-formed")
			return
		}
		values := url.Values{}
		for _, tag := range asked.Tags {
			values.Set(tag.Key, tag.Value)
		}
		holder.retag(key, values.Encode())
		response.WriteHeader(http.StatusOK)
	default:
		web.refuse(response, request)
	}
}

func renderTags(tagging string) []byte {
	values, _ := url.ParseQuery(tagging)
	text := append([]byte(xmlStart), "<Tagging><TagSet>"...)
	for name := range values {
		text = append(text, "<Tag>"...)
		text = element(text, "Key", name)
		text = element(text, "Value", values.Get(name))
		text = append(text, "</Tag>"...)
	}
	return append(text, "</TagSet></Tagging>"...)
}
