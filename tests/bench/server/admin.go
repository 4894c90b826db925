// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// administer answers what only the bench asks, outside the times that it measures.
//
//	GET  /stats (also /-/stats)  requests by operation, keys listed, connections, bytes, and this process's CPU seconds
//	POST /-/seed?bucket=&objects=&size=&part_size=&folders=  fill a bucket with random bytes of our own
//	POST /-/drop?bucket=         remove a bucket's objects and open uploads, keep the bucket
//	GET  /-/digests?bucket=      one JSON line per object, with the SHA-256 of its bytes, all read again
func (web *service) administer(response http.ResponseWriter, request *http.Request, task string) {
	query := request.URL.Query()
	var err error
	switch task {
	case "", "stats":
		err = json.NewEncoder(response).Encode(web.statistics())
	case "seed":
		err = web.store.seed(query)
	case "drop":
		web.store.drop(query.Get("bucket"))
	case "digests":
		err = web.store.writeDigests(response, query.Get("bucket"))
	default:
		err = fmt.Errorf("unknown task %q", task)
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
	}
}

func (web *service) statistics() map[string]any {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	requests := map[string]int64{}
	web.lock.Lock()
	for operation, count := range web.requests {
		requests[operation] = count
	}
	web.lock.Unlock()
	return map[string]any{
		"requests": requests, "connections": web.connections.Load(), "keys_listed": web.keysListed.Load(),
		"bytes_in": web.store.bytesIn.Load(), "bytes_out": web.store.bytesOut.Load(),
		"cpu_user_seconds": seconds(usage.Utime), "cpu_system_seconds": seconds(usage.Stime),
		"max_rss_bytes": usage.Maxrss * 1024,
	}
}

func seconds(value syscall.Timeval) float64 { return float64(value.Sec) + float64(value.Usec)/1e6 }

func (keeper *store) drop(name string) {
	keeper.lock.Lock()
	old := keeper.buckets[name]
	keeper.buckets[name] = newRealBucket()
	var open []*upload
	for id, found := range keeper.uploads {
		if found.bucket == name {
			open = append(open, found)
			delete(keeper.uploads, id)
		}
	}
	keeper.lock.Unlock()
	for _, found := range open {
		found.lock.Lock()
		found.closed = true
		for _, piece := range found.parts {
			piece.remove()
		}
		found.lock.Unlock()
	}
	if old, isReal := old.(*realBucket); isReal {
		for _, stored := range old.sorted().(objectList) {
			stored.remove()
		}
	}
}

type seedPlan struct {
	bucket, prefix   string
	objects, folders int
	size, partSize   int64
}

func parseSeed(query url.Values) (plan seedPlan, err error) {
	number := func(name string) int64 {
		value, problem := strconv.ParseInt(query.Get(name), 10, 64)
		if problem != nil && query.Has(name) {
			err = fmt.Errorf("%s: %w", name, problem)
		}
		return value
	}
	plan = seedPlan{
		bucket: query.Get("bucket"), prefix: query.Get("prefix"), objects: int(number("objects")),
		folders: max(1, int(number("folders"))), size: number("size"), partSize: number("part_size"),
	}
	if plan.bucket == "" || plan.objects < 1 || plan.size < 0 {
		err = fmt.Errorf("bucket, objects and size are required")
	}
	return plan, err
}

// seed fills a bucket with objects of reproducible random bytes, multipart where size exceeds part_size > 0.
func (keeper *store) seed(query url.Values) error {
	plan, err := parseSeed(query)
	if err != nil {
		return err
	}
	keeper.createBucket(plan.bucket)
	holder, _ := keeper.bucket(plan.bucket)
	return inParallel(plan.objects, func(number int) error {
		folder := number * plan.folders / plan.objects
		key := fmt.Sprintf("%sd%03d/object-%06d.bin", plan.prefix, folder, number)
		headers := []header{{"Content-Type", "application/octet-stream"}, {"x-amz-meta-origin", "bench"}}
		source := randomReader(uint64(number))
		if plan.partSize <= 0 || plan.size <= plan.partSize {
			piece, err := keeper.save(io.LimitReader(source, plan.size), plan.size, "")
			if err != nil {
				return err
			}
			return holder.put(singlePart(key, piece, headers, ""))
		}
		var parts []segment
		for remaining := plan.size; remaining > 0; remaining -= plan.partSize {
			length := min(plan.partSize, remaining)
			piece, err := keeper.save(io.LimitReader(source, length), length, "")
			if err != nil {
				return err
			}
			parts = append(parts, piece)
		}
		return holder.put(joinParts(key, parts, headers, ""))
	})
}

func randomReader(number uint64) io.Reader {
	var seed [32]byte
	copy(seed[:], strconv.FormatUint(number, 10))
	return rand.NewChaCha8(seed)
}

func fillRandom(source io.Reader, memory []byte) { io.ReadFull(source, memory) }

func inParallel(count int, work func(number int) error) error {
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	failures := make([]error, workers)
	for worker := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := worker; number < count && failures[worker] == nil; number += workers {
				failures[worker] = work(number)
			}
		}()
	}
	group.Wait()
	for _, failure := range failures {
		if failure != nil {
			return failure
		}
	}
	return nil
}

// contentDigest is what a fresh read of every byte says: the truth that the ETag claims.
type contentDigest struct {
	SHA256     string `json:"sha256"`
	ETagIsTrue bool   `json:"etag_is_true"`
	Problem    string `json:"problem,omitempty"`
}

func digestContent(stored *object) contentDigest {
	whole, partSums := sha256.New(), md5.New()
	for i := range stored.segments {
		sum, err := digestSegment(&stored.segments[i], whole)
		if err != nil {
			return contentDigest{Problem: err.Error()}
		}
		if !stored.multipart {
			return contentDigest{SHA256: hex.EncodeToString(whole.Sum(nil)), ETagIsTrue: hex.EncodeToString(sum) == stored.etag}
		}
		partSums.Write(sum)
	}
	etag := fmt.Sprintf("%x-%d", partSums.Sum(nil), len(stored.segments))
	return contentDigest{SHA256: hex.EncodeToString(whole.Sum(nil)), ETagIsTrue: etag == stored.etag}
}

func digestSegment(piece *segment, whole io.Writer) ([]byte, error) {
	source, err := piece.open()
	if err != nil {
		return nil, err
	}
	defer source.Close()
	sum := md5.New()
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(whole, sum)}, struct{ io.Reader }{source}, *buffer)
	return sum.Sum(nil), err
}

func (keeper *store) writeDigests(response http.ResponseWriter, name string) error {
	holder, exists := keeper.bucket(name)
	if !exists {
		return fmt.Errorf("no bucket %q", name)
	}
	keys := holder.sorted()
	digests := make([]contentDigest, keys.count())
	inParallel(keys.count(), func(position int) error {
		digests[position] = keys.at(position).content()
		return nil
	})
	sink := bufio.NewWriter(response)
	encoder := json.NewEncoder(sink)
	for position, digest := range digests {
		stored := keys.at(position)
		line := map[string]any{
			"key": stored.key, "size": stored.size, "etag": stored.etag,
			"sha256": digest.SHA256, "etag_is_true": digest.ETagIsTrue, "problem": digest.Problem,
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return sink.Flush()
}
