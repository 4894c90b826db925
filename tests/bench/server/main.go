// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// benchstore is a small S3 server on loopback for the bench alone.
//
// It spends as little CPU as it can, because it shares the cores with the client that is measured. It checks NO
// signature, no authorisation and no checksum header; it is a test double, never a place for anybody's data.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

type multiFlag []string

func (values *multiFlag) String() string { return strings.Join(*values, " ") }

func (values *multiFlag) Set(value string) error {
	*values = append(*values, value)
	return nil
}

func main() {
	var synthetic multiFlag
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	data := flag.String("data", "", "folder for object data (required; emptied at start)")
	memoryBelow := flag.Int64("memory-below", 64<<10, "objects and parts smaller than this many bytes stay in memory")
	digest := flag.String("digest", "trust", "ETag of what is stored: 'trust' a Content-MD5 header, or always 'compute' and check")
	portFile := flag.String("port-file", "", "write the address listened on into this file")
	delay := flag.Duration("delay", 0, "how long each S3 request waits before it is answered, e.g. 25ms")
	certificateFile := flag.String("tls", "", "serve HTTPS; write the certificate, made at start, into this file")
	flag.Var(&synthetic, "synthetic", "BUCKET:OBJECTS:SIZE, a read-only bucket that pretends to hold them; may be repeated")
	flag.Parse()
	if *data == "" || (*digest != "trust" && *digest != "compute") {
		flag.Usage()
		os.Exit(2)
	}
	debug.SetGCPercent(400) // memory is small beside the data, CPU is what counts here
	store, err := newStore(*data, *memoryBelow, *digest == "compute")
	if err != nil {
		log.Fatal(err)
	}
	for _, description := range synthetic {
		if err := addSynthetic(store, description); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if *certificateFile != "" {
		if listener, err = withTLS(listener, *certificateFile); err != nil {
			log.Fatal(err)
		}
	}
	if *portFile != "" {
		if err := writeAtomically(*portFile, listener.Addr().String()); err != nil {
			log.Fatal(err)
		}
	}
	service := &service{store: store, delay: *delay}
	server := &http.Server{Handler: service, ConnState: service.countConnection, ErrorLog: log.New(os.Stderr, "http: ", 0)}
	go stopOnSignal(store)
	fmt.Println("listening on", listener.Addr())
	log.Fatal(server.Serve(listener))
}

func addSynthetic(store *store, description string) error {
	fields := strings.Split(description, ":")
	if len(fields) != 3 {
		return fmt.Errorf("-synthetic %q: expected BUCKET:OBJECTS:SIZE", description)
	}
	count, err := strconv.Atoi(fields[1])
	if err != nil {
		return fmt.Errorf("-synthetic %q: objects: %w", description, err)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return fmt.Errorf("-synthetic %q: size: %w", description, err)
	}
	store.buckets[fields[0]] = newSyntheticBucket(count, size)
	return nil
}

func writeAtomically(path string, content string) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func stopOnSignal(store *store) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	os.RemoveAll(filepath.Join(store.folder, "blobs"))
	os.Exit(0)
}
