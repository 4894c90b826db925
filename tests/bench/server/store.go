// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// segment is one stored run of bytes, in memory or in a file: a whole single-part object, or one part.
type segment struct {
	memory []byte
	path   string
	size   int64
	md5    [md5.Size]byte
}

func (piece *segment) open() (io.ReadSeekCloser, error) {
	if piece.path == "" {
		return nopCloser{bytes.NewReader(piece.memory)}, nil
	}
	return os.Open(piece.path)
}

func (piece *segment) remove() {
	if piece.path != "" {
		os.Remove(piece.path)
	}
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// header is one response header that travels with an object: Content-Type, x-amz-meta-*, ...
type header struct{ name, value string }

// object is immutable once it is in a bucket.
type object struct {
	key       string
	segments  []segment
	size      int64
	etag      string // without quotes
	modified  time.Time
	headers   []header
	tagging   string // as in x-amz-tagging: a=b&c=d
	multipart bool
	content   func() contentDigest // memoized; reads every byte
}

func (stored *object) remove() {
	for i := range stored.segments {
		stored.segments[i].remove()
	}
}

type bucket interface {
	get(key string) (*object, bool)
	put(stored *object) error
	delete(key string)
	retag(key, tagging string)
	// sorted gives the keys in UTF-8 byte order, as of now.
	sorted() sortedKeys
}

type sortedKeys interface {
	count() int
	key(position int) string
	at(position int) *object
}

var errReadOnly = errors.New("this bucket is synthetic and read-only")

type store struct {
	folder      string
	memoryBelow int64
	compute     bool // check Content-MD5 and never take it on trust
	lock        sync.RWMutex
	buckets     map[string]bucket
	uploads     map[string]*upload
	sequence    atomic.Int64
	bytesIn     atomic.Int64
	bytesOut    atomic.Int64
}

func newStore(folder string, memoryBelow int64, compute bool) (*store, error) {
	blobs := filepath.Join(folder, "blobs")
	if err := os.RemoveAll(blobs); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return nil, err
	}
	return &store{
		folder: folder, memoryBelow: memoryBelow, compute: compute,
		buckets: map[string]bucket{}, uploads: map[string]*upload{},
	}, nil
}

func (keeper *store) bucket(name string) (bucket, bool) {
	keeper.lock.RLock()
	defer keeper.lock.RUnlock()
	found, ok := keeper.buckets[name]
	return found, ok
}

func (keeper *store) createBucket(name string) {
	keeper.lock.Lock()
	defer keeper.lock.Unlock()
	if _, exists := keeper.buckets[name]; !exists {
		keeper.buckets[name] = newRealBucket()
	}
}

func (keeper *store) nextNumber() int64 { return keeper.sequence.Add(1) }

var errBadDigest = errors.New("the Content-MD5 header is not the digest of the body")

var copyBuffers = sync.Pool{New: func() any { buffer := make([]byte, 1<<20); return &buffer }}

// save stores one body. contentMD5 is the header's value or empty; size -1 when it is not known.
func (keeper *store) save(body io.Reader, size int64, contentMD5 string) (segment, error) {
	claimed, err := base64.StdEncoding.DecodeString(contentMD5)
	if err != nil || (len(claimed) != 0 && len(claimed) != md5.Size) {
		return segment{}, errBadDigest
	}
	var sum hash.Hash
	if keeper.compute || len(claimed) == 0 {
		sum = md5.New()
	}
	var piece segment
	if size >= 0 && size < keeper.memoryBelow {
		piece, err = saveInMemory(body, size, sum)
	} else {
		piece, err = keeper.saveInFile(body, sum)
	}
	if err == nil && size >= 0 && piece.size != size {
		err = io.ErrUnexpectedEOF
	}
	if sum == nil {
		copy(piece.md5[:], claimed)
	} else {
		sum.Sum(piece.md5[:0])
		if err == nil && len(claimed) != 0 && !bytes.Equal(claimed, piece.md5[:]) {
			err = errBadDigest
		}
	}
	if err != nil {
		piece.remove()
		return segment{}, err
	}
	keeper.bytesIn.Add(piece.size)
	return piece, nil
}

func saveInMemory(body io.Reader, size int64, sum hash.Hash) (segment, error) {
	memory := make([]byte, size)
	if _, err := io.ReadFull(body, memory); err != nil {
		return segment{}, io.ErrUnexpectedEOF
	}
	if sum != nil {
		sum.Write(memory)
	}
	return segment{memory: memory, size: size}, nil
}

func (keeper *store) saveInFile(body io.Reader, sum hash.Hash) (segment, error) {
	piece := segment{path: filepath.Join(keeper.folder, "blobs", strconv.FormatInt(keeper.nextNumber(), 36))}
	file, err := os.OpenFile(piece.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return piece, err
	}
	defer file.Close()
	var sink io.Writer = file
	if sum != nil {
		sink = io.MultiWriter(file, sum)
	}
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	// The bare structs hide ReadFrom and WriteTo, which would copy in pieces of 32 KiB.
	piece.size, err = io.CopyBuffer(struct{ io.Writer }{sink}, struct{ io.Reader }{body}, *buffer)
	return piece, err
}

// singlePart makes an object of one segment; its ETag is the MD5.
func singlePart(key string, piece segment, headers []header, tagging string) *object {
	made := &object{
		key: key, segments: []segment{piece}, size: piece.size, etag: hex.EncodeToString(piece.md5[:]),
		modified: now(), headers: headers, tagging: tagging,
	}
	made.content = sync.OnceValue(func() contentDigest { return digestContent(made) })
	return made
}

// joinParts makes an object of parts; its ETag is the MD5 of the MD5s, a dash, and their number.
func joinParts(key string, parts []segment, headers []header, tagging string) *object {
	made := &object{key: key, segments: parts, modified: now(), headers: headers, tagging: tagging, multipart: true}
	sum := md5.New()
	for i := range parts {
		made.size += parts[i].size
		sum.Write(parts[i].md5[:])
	}
	made.etag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
	made.content = sync.OnceValue(func() contentDigest { return digestContent(made) })
	return made
}

// now is cut to milliseconds: a LastModified ahead of the client's clock would make s5cmd skip the object.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
