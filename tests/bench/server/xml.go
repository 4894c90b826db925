// Copyright (c) 2026 edgeops.snowsync contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	xmlStart  = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	timeInXML = "2006-01-02T15:04:05.000Z"
)

func element(text []byte, name, value string) []byte {
	text = append(append(append(text, '<'), name...), '>')
	text = escapeXML(text, value)
	return append(append(append(text, "</"...), name...), '>')
}

// escapeXML writes control characters as character references, as S3 does, though XML 1.0 forbids most of them.
func escapeXML(text []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '<':
			text = append(text, "&lt;"...)
		case c == '>':
			text = append(text, "&gt;"...)
		case c == '&':
			text = append(text, "&amp;"...)
		case c == '"':
			text = append(text, "&quot;"...)
		case c < 0x20 || c == 0x7f:
			text = fmt.Appendf(text, "&#x%x;", c)
		default:
			text = append(text, c)
		}
	}
	return text
}

// encodeKey is what encoding-type=url asks for; a space becomes %20, which every decoder understands.
func encodeKey(key string) string {
	safe := true
	for i := 0; i < len(key) && safe; i++ {
		safe = isUnreserved(key[i])
	}
	if safe {
		return key
	}
	var text strings.Builder
	for i := 0; i < len(key); i++ {
		if isUnreserved(key[i]) {
			text.WriteByte(key[i])
		} else {
			fmt.Fprintf(&text, "%%%02X", key[i])
		}
	}
	return text.String()
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0
}

func respondXML(response http.ResponseWriter, status int, text []byte) {
	headers := response.Header()
	headers["Content-Type"] = []string{"application/xml"}
	headers["Content-Length"] = []string{strconv.Itoa(len(text))}
	response.WriteHeader(status)
	response.Write(text)
}

func fail(response http.ResponseWriter, status int, code, message string) {
	text := append([]byte(xmlStart), "<Error>"...)
	text = element(text, "Code", code)
	text = element(text, "Message", message)
	respondXML(response, status, append(text, "</Error>"...))
}
