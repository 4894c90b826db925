// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// syntheticBucket pretends to hold `total` objects: names by pattern, one of a few contents each. For listing tests.
type syntheticBucket struct {
	total    int
	patterns []object // object i has the content of patterns[i % len(patterns)]
}

const syntheticPatterns = 64

func newSyntheticBucket(total int, size int64) *syntheticBucket {
	made := &syntheticBucket{total: total, patterns: make([]object, syntheticPatterns)}
	modified := time.Now().UTC().Truncate(time.Second)
	for i := range made.patterns {
		memory := make([]byte, size)
		fillRandom(rand.NewChaCha8([32]byte{byte(i)}), memory)
		sum := md5.Sum(memory)
		made.patterns[i] = object{
			segments: []segment{{memory: memory, size: size, md5: sum}}, size: size, etag: hex.EncodeToString(sum[:]),
			modified: modified, headers: []header{{"Content-Type", "application/octet-stream"}},
		}
	}
	return made
}

func syntheticKey(position int) string {
	return fmt.Sprintf("d%05d/object-%09d.bin", position/1000, position)
}

func (store *syntheticBucket) get(key string) (*object, bool) {
	var folder, position int
	if _, err := fmt.Sscanf(key, "d%05d/object-%09d.bin", &folder, &position); err != nil {
		return nil, false
	}
	if position < 0 || position >= store.total || syntheticKey(position) != key {
		return nil, false
	}
	return store.at(position), true
}

func (store *syntheticBucket) put(*object) error  { return errReadOnly }
func (store *syntheticBucket) delete(string)      {}
func (store *syntheticBucket) retag(_, _ string)  {}
func (store *syntheticBucket) sorted() sortedKeys { return store }
func (store *syntheticBucket) count() int         { return store.total }
func (store *syntheticBucket) key(position int) string {
	return syntheticKey(position)
}

func (store *syntheticBucket) at(position int) *object {
	made := store.patterns[position%len(store.patterns)]
	made.key = syntheticKey(position)
	made.content = sync.OnceValue(func() contentDigest { return digestContent(&made) })
	return &made
}
