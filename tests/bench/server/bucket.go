// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"sort"
	"sync"
)

// realBucket keeps a map for requests by key, and a sorted snapshot that is renewed only when a listing needs it.
type realBucket struct {
	lock     sync.RWMutex
	objects  map[string]*object
	added    []string // keys that are not in the snapshot yet
	removed  bool     // the snapshot holds objects that are gone or replaced
	snapshot objectList
}

func newRealBucket() *realBucket { return &realBucket{objects: map[string]*object{}} }

func (store *realBucket) get(key string) (*object, bool) {
	store.lock.RLock()
	defer store.lock.RUnlock()
	found, ok := store.objects[key]
	return found, ok
}

func (store *realBucket) put(stored *object) error {
	store.lock.Lock()
	defer store.lock.Unlock()
	if old, exists := store.objects[stored.key]; exists {
		old.remove()
		store.removed = true
	}
	store.added = append(store.added, stored.key)
	store.objects[stored.key] = stored
	return nil
}

func (store *realBucket) delete(key string) {
	store.lock.Lock()
	defer store.lock.Unlock()
	if old, exists := store.objects[key]; exists {
		old.remove()
		delete(store.objects, key)
		store.removed = true
	}
}

// retag replaces the object by a copy that shares its bytes.
func (store *realBucket) retag(key, tagging string) {
	store.lock.Lock()
	defer store.lock.Unlock()
	old, exists := store.objects[key]
	if !exists {
		return
	}
	fresh := *old
	fresh.tagging = tagging
	store.objects[key] = &fresh
	store.added, store.removed = append(store.added, key), true
}

func (store *realBucket) sorted() sortedKeys {
	store.lock.Lock()
	defer store.lock.Unlock()
	if len(store.added) > 0 || store.removed {
		store.renew()
	}
	return store.snapshot
}

func (store *realBucket) renew() {
	fresh := make([]*object, 0, len(store.added))
	sort.Strings(store.added)
	for i, key := range store.added {
		stored, exists := store.objects[key]
		if exists && (i == 0 || store.added[i-1] != key) {
			fresh = append(fresh, stored)
		}
	}
	kept := make([]*object, 0, len(store.snapshot))
	for _, stored := range store.snapshot {
		if store.objects[stored.key] == stored {
			kept = append(kept, stored)
		}
	}
	store.snapshot = merge(kept, fresh)
	store.added, store.removed = nil, false
}

func merge(left, right []*object) objectList {
	merged := make(objectList, 0, len(left)+len(right))
	for len(left) > 0 && len(right) > 0 {
		if left[0].key < right[0].key {
			merged, left = append(merged, left[0]), left[1:]
		} else {
			merged, right = append(merged, right[0]), right[1:]
		}
	}
	return append(append(merged, left...), right...)
}

type objectList []*object

func (list objectList) count() int              { return len(list) }
func (list objectList) key(position int) string { return list[position].key }
func (list objectList) at(position int) *object { return list[position] }
