// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// What travels with an object besides its bytes, beside every x-amz-meta-*.
var keptHeaders = []string{
	"Content-Type", "Cache-Control", "Content-Encoding", "Content-Disposition", "Content-Language", "Expires",
}

func headersToKeep(request *http.Request) []header {
	var kept []header
	for _, name := range keptHeaders {
		if value := request.Header.Get(name); value != "" {
			kept = append(kept, header{name, value})
		}
	}
	for name, values := range request.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			kept = append(kept, header{strings.ToLower(name), strings.Join(values, ",")}) // lower case, as S3 answers
		}
	}
	return withoutChunkedEncoding(kept)
}

// withoutChunkedEncoding drops aws-chunked, which describes the request's framing, not the object.
func withoutChunkedEncoding(headers []header) []header {
	kept := headers[:0]
	for _, pair := range headers {
		if pair.name == "Content-Encoding" {
			pair.value = strings.Trim(strings.Replace(pair.value, "aws-chunked", "", 1), ", ")
		}
		if pair.value != "" {
			kept = append(kept, pair)
		}
	}
	return kept
}

// saveBody stores a request's body, unwrapping the frames of aws-chunked.
func (keeper *store) saveBody(request *http.Request) (segment, error) {
	contentMD5 := request.Header.Get("Content-Md5")
	if !strings.HasPrefix(request.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return keeper.save(request.Body, request.ContentLength, contentMD5)
	}
	size, err := strconv.ParseInt(request.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil {
		size = -1
	}
	return keeper.save(&chunkedReader{source: bufio.NewReaderSize(request.Body, 64<<10)}, size, contentMD5)
}

// chunkedReader reads "SIZE;chunk-signature=...\r\nDATA\r\n" frames; signatures and trailers are not checked.
type chunkedReader struct {
	source    *bufio.Reader
	remaining int64
	started   bool
	ended     bool
}

func (reader *chunkedReader) Read(buffer []byte) (int, error) {
	if reader.remaining == 0 && !reader.ended {
		if err := reader.nextFrame(); err != nil {
			return 0, err
		}
	}
	if reader.ended {
		return 0, io.EOF
	}
	count, err := reader.source.Read(buffer[:min(int64(len(buffer)), reader.remaining)])
	reader.remaining -= int64(count)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return count, err
}

func (reader *chunkedReader) nextFrame() error {
	if reader.started {
		if _, err := reader.source.Discard(2); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	reader.started = true
	line, err := reader.source.ReadString('\n')
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	text, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
	reader.remaining, err = strconv.ParseInt(text, 16, 64)
	if err == nil && reader.remaining == 0 {
		reader.ended = true
		_, err = io.Copy(io.Discard, reader.source)
	}
	return err
}

func (web *service) putObject(response http.ResponseWriter, request *http.Request, holder bucket, key string) {
	if request.Header.Get("X-Amz-Copy-Source") != "" {
		web.refuse(response, request)
		return
	}
	if _, exists := holder.get(key); exists && request.Header.Get("If-None-Match") == "*" {
		fail(response, http.StatusPreconditionFailed, "PreconditionFailed", "The object exists")
		return
	}
	piece, err := web.store.saveBody(request)
	if err != nil {
		failBody(response, err)
		return
	}
	stored := singlePart(key, piece, headersToKeep(request), request.Header.Get("X-Amz-Tagging"))
	if err := holder.put(stored); err != nil {
		stored.remove()
		fail(response, http.StatusForbidden, "AccessDenied", err.Error())
		return
	}
	setETag(response.Header(), stored.etag)
	response.WriteHeader(http.StatusOK)
}

func failBody(response http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errBadDigest):
		fail(response, http.StatusBadRequest, "BadDigest", err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		fail(response, http.StatusBadRequest, "IncompleteBody", err.Error())
	default:
		fail(response, http.StatusInternalServerError, "InternalError", err.Error())
	}
}

func setETag(headers http.Header, etag string) { headers["Etag"] = []string{`"` + etag + `"`} }

// span is what of an object a GET or HEAD is about.
type span struct {
	start, length int64
	partial       bool
	part          int // ?partNumber=, 0: none
}

func (web *service) getObject(
	response http.ResponseWriter, request *http.Request, holder bucket, key string, query url.Values,
) {
	stored, exists := holder.get(key)
	if !exists {
		fail(response, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	if wanted := request.Header.Get("If-Match"); wanted != "" && wanted != "*" && strings.Trim(wanted, `"`) != stored.etag {
		fail(response, http.StatusPreconditionFailed, "PreconditionFailed", "The ETag differs")
		return
	}
	if known := request.Header.Get("If-None-Match"); known != "" && strings.Trim(known, `"`) == stored.etag {
		setETag(response.Header(), stored.etag)
		response.WriteHeader(http.StatusNotModified)
		return
	}
	asked, ok := spanOf(stored, request.Header.Get("Range"), query.Get("partNumber"))
	if !ok {
		response.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(stored.size, 10))
		fail(response, http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
		return
	}
	status := describe(response.Header(), stored, asked)
	response.WriteHeader(status)
	if request.Method == http.MethodGet {
		web.sendBytes(response, stored, asked)
	}
}

func spanOf(stored *object, rangeHeader, partNumber string) (span, bool) {
	if partNumber != "" {
		return spanOfPart(stored, partNumber)
	}
	text, isBytes := strings.CutPrefix(rangeHeader, "bytes=")
	first, last, hasDash := strings.Cut(text, "-")
	if !isBytes || !hasDash || strings.Contains(text, ",") {
		return span{length: stored.size}, true // S3 ignores a Range that it does not understand
	}
	if first == "" {
		suffix, err := strconv.ParseInt(last, 10, 64)
		suffix = min(suffix, stored.size)
		return span{start: stored.size - suffix, length: suffix, partial: true}, err == nil && suffix > 0
	}
	start, err := strconv.ParseInt(first, 10, 64)
	end := stored.size - 1
	if last != "" && err == nil {
		end, err = strconv.ParseInt(last, 10, 64)
		end = min(end, stored.size-1)
	}
	return span{start: start, length: end - start + 1, partial: true}, err == nil && start < stored.size && start <= end
}

func spanOfPart(stored *object, partNumber string) (span, bool) {
	number, err := strconv.Atoi(partNumber)
	if err != nil || number < 1 || number > len(stored.segments) {
		return span{}, false
	}
	asked := span{length: stored.segments[number-1].size, partial: stored.size > 0, part: number}
	for i := range stored.segments[:number-1] {
		asked.start += stored.segments[i].size
	}
	return asked, true
}

func describe(headers http.Header, stored *object, asked span) int {
	setETag(headers, stored.etag)
	headers["Last-Modified"] = []string{stored.modified.Format(http.TimeFormat)}
	headers["Accept-Ranges"] = []string{"bytes"}
	headers["Content-Length"] = []string{strconv.FormatInt(asked.length, 10)}
	headers["Content-Type"] = []string{"binary/octet-stream"} // S3's default; replaced by the object's own
	for _, pair := range stored.headers {
		headers[pair.name] = []string{pair.value}
	}
	if stored.tagging != "" {
		headers["X-Amz-Tagging-Count"] = []string{strconv.Itoa(strings.Count(stored.tagging, "&") + 1)}
	}
	if asked.part > 0 && stored.multipart {
		headers["X-Amz-Mp-Parts-Count"] = []string{strconv.Itoa(len(stored.segments))}
	}
	if !asked.partial {
		return http.StatusOK
	}
	last := asked.start + asked.length - 1
	headers["Content-Range"] = []string{
		"bytes " + strconv.FormatInt(asked.start, 10) + "-" + strconv.FormatInt(last, 10) + "/" + strconv.FormatInt(stored.size, 10),
	}
	return http.StatusPartialContent
}

// sendBytes copies straight from files to the socket (sendfile). An error here can only break the connection off.
func (web *service) sendBytes(response http.ResponseWriter, stored *object, asked span) {
	skip, remaining := asked.start, asked.length
	for i := range stored.segments {
		piece := &stored.segments[i]
		if skip >= piece.size {
			skip -= piece.size
			continue
		}
		length := min(piece.size-skip, remaining)
		if err := sendSegment(response, piece, skip, length); err != nil {
			panic(http.ErrAbortHandler)
		}
		web.store.bytesOut.Add(length)
		skip, remaining = 0, remaining-length
		if remaining == 0 {
			return
		}
	}
}

func sendSegment(response http.ResponseWriter, piece *segment, start, length int64) error {
	if piece.path == "" {
		_, err := response.Write(piece.memory[start : start+length])
		return err
	}
	file, err := piece.open()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return err
	}
	_, err = io.CopyN(response, file, length)
	return err
}

type deletion struct {
	Quiet   bool
	Objects []struct{ Key string } `xml:"Object"`
}

func (web *service) deleteObjects(response http.ResponseWriter, request *http.Request, holder bucket) {
	var asked deletion
	if err := xml.NewDecoder(request.Body).Decode(&asked); err != nil || len(asked.Objects) > maximumPage {
		fail(response, http.StatusBadRequest, "MalformedXML", "The XML is not well-formed")
		return
	}
	text := append([]byte(xmlStart), "<DeleteResult>"...)
	for _, entry := range asked.Objects {
		holder.delete(entry.Key)
		if !asked.Quiet {
			text = append(text, "<Deleted>"...)
			text = element(text, "Key", entry.Key)
			text = append(text, "</Deleted>"...)
		}
	}
	respondXML(response, http.StatusOK, append(text, "</DeleteResult>"...))
}
