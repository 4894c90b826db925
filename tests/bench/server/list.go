// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

const maximumPage = 1000

// listing is one request for a page, in the terms that V1 and V2 share.
type listing struct {
	prefix, delimiter string
	after             string // only keys (and common prefixes) after this one
	afterGroup        bool   // `after` is a common prefix: everything below it was already reported
	pageSize          int
	urlEncoded        bool
}

type page struct {
	objects   []*object
	groups    []string // common prefixes
	last      string
	lastGroup bool
	truncated bool
}

func parseListing(query url.Values) (listing, bool) {
	asked := listing{
		prefix: query.Get("prefix"), delimiter: query.Get("delimiter"),
		pageSize: maximumPage, urlEncoded: query.Get("encoding-type") == "url",
	}
	if text := query.Get("max-keys"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil || number < 0 {
			return asked, false
		}
		asked.pageSize = min(number, maximumPage)
	}
	return asked, true
}

// collect walks the sorted keys from the page's start; it costs a binary search and the page, whatever the bucket's size.
func collect(keys sortedKeys, asked listing) page {
	var found page
	position := startOf(keys, asked)
	for position < keys.count() {
		key := keys.key(position)
		if !strings.HasPrefix(key, asked.prefix) {
			break
		}
		if len(found.objects)+len(found.groups) == asked.pageSize {
			found.truncated = asked.pageSize > 0
			break
		}
		if group := groupOf(key, asked); group != "" {
			found.groups = append(found.groups, group)
			found.last, found.lastGroup = group, true
			position = firstAfterGroup(keys, group)
			continue
		}
		found.objects = append(found.objects, keys.at(position))
		found.last, found.lastGroup = key, false
		position++
	}
	return found
}

func startOf(keys sortedKeys, asked listing) int {
	start := sort.Search(keys.count(), func(i int) bool { return keys.key(i) >= asked.prefix })
	if asked.after == "" {
		return start
	}
	if asked.afterGroup {
		return max(start, firstAfterGroup(keys, asked.after))
	}
	return max(start, sort.Search(keys.count(), func(i int) bool { return keys.key(i) > asked.after }))
}

func firstAfterGroup(keys sortedKeys, group string) int {
	return sort.Search(keys.count(), func(i int) bool {
		key := keys.key(i)
		return key > group && !strings.HasPrefix(key, group)
	})
}

func groupOf(key string, asked listing) string {
	if asked.delimiter == "" {
		return ""
	}
	end := strings.Index(key[len(asked.prefix):], asked.delimiter)
	if end < 0 {
		return ""
	}
	return key[:len(asked.prefix)+end+len(asked.delimiter)]
}

func (web *service) list(response http.ResponseWriter, name string, holder bucket, query url.Values) {
	asked, ok := parseListing(query)
	if !ok {
		fail(response, http.StatusBadRequest, "InvalidArgument", "max-keys")
		return
	}
	isV2 := query.Get("list-type") == "2"
	if isV2 {
		asked.after = query.Get("start-after")
		if token := query.Get("continuation-token"); token != "" {
			asked.after, asked.afterGroup, ok = decodeToken(token)
			if !ok {
				fail(response, http.StatusBadRequest, "InvalidArgument", "The continuation token is not valid")
				return
			}
		}
	} else {
		asked.after = query.Get("marker")
		asked.afterGroup = asked.delimiter != "" && strings.HasSuffix(asked.after, asked.delimiter)
	}
	found := collect(holder.sorted(), asked)
	web.keysListed.Add(int64(len(found.objects) + len(found.groups)))
	respondXML(response, http.StatusOK, renderPage(name, asked, found, isV2, query))
}

func renderPage(name string, asked listing, found page, isV2 bool, query url.Values) []byte {
	text := make([]byte, 0, 512+len(found.objects)*320)
	text = append(text, xmlStart...)
	text = append(text, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`...)
	text = element(text, "Name", name)
	text = asked.element(text, "Prefix", asked.prefix)
	if asked.delimiter != "" {
		text = asked.element(text, "Delimiter", asked.delimiter)
	}
	if asked.urlEncoded {
		text = element(text, "EncodingType", "url")
	}
	text = element(text, "MaxKeys", strconv.Itoa(asked.pageSize))
	text = element(text, "IsTruncated", strconv.FormatBool(found.truncated))
	if isV2 {
		text = renderV2(text, asked, found, query)
	} else {
		text = asked.element(text, "Marker", query.Get("marker"))
		if found.truncated {
			text = asked.element(text, "NextMarker", found.last)
		}
	}
	for _, stored := range found.objects {
		text = renderObject(text, asked, stored)
	}
	for _, group := range found.groups {
		text = append(text, "<CommonPrefixes>"...)
		text = asked.element(text, "Prefix", group)
		text = append(text, "</CommonPrefixes>"...)
	}
	return append(text, "</ListBucketResult>"...)
}

func renderV2(text []byte, asked listing, found page, query url.Values) []byte {
	text = element(text, "KeyCount", strconv.Itoa(len(found.objects)+len(found.groups)))
	if start := query.Get("start-after"); start != "" {
		text = asked.element(text, "StartAfter", start)
	}
	if token := query.Get("continuation-token"); token != "" {
		text = element(text, "ContinuationToken", token)
	}
	if found.truncated {
		text = element(text, "NextContinuationToken", encodeToken(found.last, found.lastGroup))
	}
	return text
}

func renderObject(text []byte, asked listing, stored *object) []byte {
	text = append(text, "<Contents>"...)
	text = asked.element(text, "Key", stored.key)
	text = append(text, "<LastModified>"...)
	text = stored.modified.AppendFormat(text, timeInXML)
	text = append(text, "</LastModified><ETag>&quot;"...)
	text = append(text, stored.etag...)
	text = append(text, "&quot;</ETag><Size>"...)
	text = strconv.AppendInt(text, stored.size, 10)
	return append(text, "</Size><StorageClass>STANDARD</StorageClass></Contents>"...)
}

func (asked listing) element(text []byte, name, value string) []byte {
	if asked.urlEncoded {
		value = encodeKey(value)
	}
	return element(text, name, value)
}

func encodeToken(last string, isGroup bool) string {
	kind := "k"
	if isGroup {
		kind = "g"
	}
	return base64.RawURLEncoding.EncodeToString([]byte(kind + last))
}

func decodeToken(token string) (last string, isGroup bool, ok bool) {
	decoded, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(decoded) == 0 || (decoded[0] != 'k' && decoded[0] != 'g') {
		return "", false, false
	}
	return string(decoded[1:]), decoded[0] == 'g', true
}
