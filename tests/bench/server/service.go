// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// service routes requests. Addresses below /-/ belong to the bench (see admin.go); "-" is no valid bucket name.
type service struct {
	store       *store
	delay       time.Duration // before each answer but the bench's own
	connections atomic.Int64
	keysListed  atomic.Int64
	lock        sync.Mutex
	requests    map[string]int64 // by S3's name of the operation
}

func (web *service) countConnection(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		web.connections.Add(1)
	}
}

func (web *service) count(operation string) {
	web.lock.Lock()
	defer web.lock.Unlock()
	if web.requests == nil {
		web.requests = map[string]int64{}
	}
	web.requests[operation]++
}

func (web *service) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	name, key, hasKey := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	if name == "-" || name == "stats" && !hasKey {
		web.administer(response, request, key)
		return
	}
	time.Sleep(web.delay)
	response.Header()["Server"] = []string{"benchstore"}
	var query url.Values
	if request.URL.RawQuery != "" {
		query = request.URL.Query()
	}
	switch {
	case name == "":
		web.listBuckets(response, request)
	case key == "":
		web.serveBucket(response, request, name, query)
	default:
		web.serveObject(response, request, name, key, query)
	}
}

func (web *service) listBuckets(response http.ResponseWriter, request *http.Request) {
	web.count("ListBuckets")
	text := append([]byte(xmlStart), "<ListAllMyBucketsResult><Buckets>"...)
	web.store.lock.RLock()
	defer web.store.lock.RUnlock()
	for name := range web.store.buckets {
		text = append(text, "<Bucket>"...)
		text = element(text, "Name", name)
		text = append(text, "<CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>"...)
	}
	respondXML(response, http.StatusOK, append(text, "</Buckets></ListAllMyBucketsResult>"...))
}

func (web *service) serveBucket(response http.ResponseWriter, request *http.Request, name string, query url.Values) {
	if request.Method == http.MethodPut && len(query) == 0 {
		web.count("CreateBucket")
		web.store.createBucket(name)
		response.Header().Set("Location", "/"+name)
		response.WriteHeader(http.StatusOK)
		return
	}
	holder, exists := web.store.bucket(name)
	if !exists {
		fail(response, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
		return
	}
	switch {
	case request.Method == http.MethodHead:
		web.count("HeadBucket")
		response.Header().Set("x-amz-bucket-region", "us-east-1")
		response.WriteHeader(http.StatusOK)
	case request.Method == http.MethodPost && query.Has("delete"):
		web.count("DeleteObjects")
		web.deleteObjects(response, request, holder)
	case request.Method == http.MethodGet && query.Has("uploads"):
		web.count("ListMultipartUploads")
		web.listUploads(response, name, query)
	case request.Method == http.MethodGet && query.Has("location"):
		web.count("GetBucketLocation")
		respondXML(response, http.StatusOK, []byte(xmlStart+"<LocationConstraint/>"))
	case request.Method == http.MethodGet && query.Has("versioning"):
		web.count("GetBucketVersioning")
		respondXML(response, http.StatusOK, []byte(xmlStart+"<VersioningConfiguration/>"))
	case request.Method == http.MethodGet && isPlainListing(query):
		web.count("ListObjects")
		web.list(response, name, holder, query)
	default:
		web.refuse(response, request)
	}
}

var listingParameters = map[string]bool{
	"list-type": true, "prefix": true, "delimiter": true, "max-keys": true, "encoding-type": true, "marker": true,
	"start-after": true, "continuation-token": true, "fetch-owner": true, "x-id": true,
}

// isPlainListing is false for ?acl, ?policy, ?tagging ... so that no client mistakes a listing for their answer.
func isPlainListing(query url.Values) bool {
	for parameter := range query {
		if !listingParameters[parameter] {
			return false
		}
	}
	return true
}

func (web *service) serveObject(response http.ResponseWriter, request *http.Request, name, key string, query url.Values) {
	holder, exists := web.store.bucket(name)
	if !exists {
		fail(response, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
		return
	}
	if query.Has("uploads") || query.Has("uploadId") {
		web.serveUpload(response, request, holder, name, key, query)
		return
	}
	if query.Has("tagging") {
		web.serveTagging(response, request, holder, key)
		return
	}
	switch request.Method {
	case http.MethodGet:
		web.count("GetObject")
		web.getObject(response, request, holder, key, query)
	case http.MethodHead:
		web.count("HeadObject")
		web.getObject(response, request, holder, key, query)
	case http.MethodPut:
		web.count("PutObject")
		web.putObject(response, request, holder, key)
	case http.MethodDelete:
		web.count("DeleteObject")
		holder.delete(key)
		response.WriteHeader(http.StatusNoContent)
	default:
		web.refuse(response, request)
	}
}

func (web *service) refuse(response http.ResponseWriter, request *http.Request) {
	web.count("refused " + request.Method + " ?" + request.URL.RawQuery)
	fail(response, http.StatusNotImplemented, "NotImplemented", "benchstore does not do this")
}
