package analyzer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/imagetest"
	"strata/internal/inventory"
)

// elfTop is the beginning of a file that looks like an executable; without
// section headers, so that all of it is searched.
const elfTop = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// specimens are texts as they stand in the files of products, one for each sign
// of the table in its order, with the file's name and the version.
var specimens = map[string][]struct{ file, text, want string }{
	"postgresql":     {{"postgres", "\x00PostgreSQL 15.4 on x86_64", "15.4"}},
	"percona-server": {{"mysqld", "/build/percona-server-8.0.35-27/sql/x.cc\x00/mysql-8.0.35/", "8.0.35-27"}},
	"mariadb":        {{"mariadbd", "\x0010.11.6-MariaDB\x00", "10.11.6"}},
	"mysql":          {{"mysqld", "/release/mysql-8.0.4-rc/mysys_ssl/my_default.cc", "8.0.4"}, {"mysqld", "shutdown\x008.0.37\x00\x00\x00mysql_real_esc", "8.0.37"}},
	"mongodb":        {{"mongod", "\x006.0.27\x00tcmalloc", "6.0.27"}, {"mongod", "\x007.0.28\x00heap_size", "7.0.28"}, {"mongos", "\x008.0.17\x00cppdefines", "8.0.17"}},
	"redis": {{"redis-server", "err\x007.0.15\x00c11-builtin\x00", "7.0.15"},
		{"redis-server", "\x004.0.11841ce7054bd9-1542359302000000000\x00", "4.0.11"}, {"redis-server", "\x007.0.14buildkitsandbox-1702957741000000000\x00", "7.0.14"}},
	"valkey":      {{"valkey-check-rdb", "\x008.1.21764887574000000000\x00", "8.1.2"}, {"valkey-server", "valkey9.0.0buildkitsandbox-1764887574000000000\x00", "9.0.0"}},
	"keydb":       {{"keydb-server", "\x006.3.41764887574000000000\x00", "6.3.4"}, {"keydb-server", "\x006.3.4host.local-1764887574000000000\x00", "6.3.4"}},
	"memcached":   {{"memcached", "\x00memcached 1.6.18\x00", "1.6.18"}, {"memcached", "\x00VERSION 1.4.15\x00", "1.4.15"}},
	"sqlite":      {{"libsqlite3.so.0.8.6", "\x003.40.1\x00", "3.40.1"}},
	"clickhouse":  {{"clickhouse", "\x00ClickHouse 23.8.8.20\x00", "23.8.8.20"}},
	"cockroachdb": {{"cockroach", "\x00v23.1.11\x00", "23.1.11"}},
	"arangodb":    {{"arangod", "\x003.11.5 [linux] 64bit", "3.11.5"}},
	"pgbouncer":   {{"pgbouncer", "\x00PgBouncer 1.18.0\n", "1.18.0"}},
	"pgpool":      {{"pgpool", "\x004.3.5\x00pgpool-II\x00%s version", "4.3.5"}},
	"openresty":   {{"nginx", "nginx version: openresty/1.21.4.1", "1.21.4.1"}},
	"nginx":       {{"nginx", "\x00nginx version: nginx/1.25.1 (Ubuntu)", "1.25.1"}},
	"httpd":       {{"httpd", "\x00Apache/2.4.57 (Unix)\x00", "2.4.57"}},
	"haproxy":     {{"haproxy", " version 2.6.12-1+deb12u4, released 2026/10/17\x00", "2.6.12"}, {"haproxy", "HA-Proxy version 1.8.30 2021/04/12", "1.8.30"}},
	"envoy": {{"envoy", "\x001.36.4\x00x\x00envoy_reloadable_features_a", "1.36.4"}, {"envoy", "\x001.34.5\x00envoy.reloadable_features", "1.34.5"},
		{"envoy", "envoy_quic_a\x00b\x001.28.7\x00", "1.28.7"}, {"envoy", "\x001.6.0\x00\x00RELEASE\x00", "1.6.0"}},
	"lighttpd":    {{"lighttpd", "\x00lighttpd/1.4.69 (ssl)", "1.4.69"}},
	"varnish":     {{"varnishd", "(varnish-7.1.1 revision 7cee1c58)", "7.1.1"}},
	"unbound":     {{"unbound", "\x00unbound 1.17.1\x00", "1.17.1"}},
	"vsftpd":      {{"vsftpd", "\x00(vsFTPd 3.0.3)\x00", "3.0.3"}},
	"proftpd":     {{"proftpd", "\x00ProFTPD Version 1.3.8\x00", "1.3.8"}},
	"mosquitto":   {{"mosquitto", "\x002.0.11\x00mosquitto version %s\n\n", "2.0.11"}},
	"dovecot":     {{"dovecot", "\x00Dovecot v2.3.19.1 (9b53102964) starting", "2.3.19.1"}},
	"fluent-bit":  {{"fluent-bit", "\x002.2.3\x00Fluent Bit", "2.2.3"}},
	"node":        {{"node", "https://nodejs.org/download/release/v18.20.4/node-v18.20.4.tar.gz", "18.20.4"}, {"node", " node.js/v22.9.0 ", "22.9.0"}},
	"deno":        {{"deno", "Deno/1.41.0", "1.41.0"}},
	"bun":         {{"bun", "\x00Bun/1.0.25\x00", "1.0.25"}, {"bun", "\x00Bun v1.1.0 Linux", "1.1.0"}},
	"python":      {{"libpython3.11.so.1.0", "\x003.12.9\x00\x003.11.2\x00%.80s", "3.11.2"}, {"python2.7", "\x002.7.18\x00", "2.7.18"}},
	"pypy":        {{"libpypy3.9-c.so", "[PyPy 7.3.11 with GCC", "7.3.11"}},
	"php":         {{"php8.2", "X-Powered-By: PHP/8.2.36\x00", "8.2.36"}},
	"perl":        {{"perl5.36.0", "\x00v5.36.0\x00", "5.36.0"}, {"perl", "/usr/local/lib/perl5/5.38.2/x", "5.38.2"}},
	"ruby":        {{"libruby.so.3.2", "\x00ruby 3.2.1 (2023-02-08 revision 31819e82c8) [x86_64-linux]", "3.2.1"}},
	"rust":        {{"libstd-0123456789abcdef.so", "clang LLVM (rustc version 1.48.0 (7eac88abb 2020-11-16))", "1.48.0"}, {"librustc_driver-4c3beb7552356b6f.so", "/usr/src/rustc-1.63.0/compiler", "1.63.0"}},
	"julia":       {{"libjulia-internal.so.1", "__init__\x001.9.3\x00verify", "1.9.3"}},
	"lua":         {{"liblua5.4.so.0", "$LuaVersion: Lua 5.4.4  Copyright (C) 1994", "5.4.4"}},
	"luajit":      {{"luajit-2.1.0-beta3", "\x00LuaJIT 2.1.0-beta3\x00", "2.1.0-beta3"}},
	"dart":        {{"dart", "\x003.5.2 (stable) (Wed", "3.5.2"}, {"dart", "\x003.6.0-216.1.beta (beta)", "3.6.0-216.1.beta"}},
	"busybox":     {{"[", "BusyBox v1.36.1 (2023", "1.36.1"}},
	"bash":        {{"bash", "@(#)Bash version 5.2.15(1) release GNU", "5.2.15"}},
	"libressl":    {{"libcrypto.so.50", "\x00LibreSSL 3.7.3\x00\x00OpenSSL 3.0.2 15 Mar 2022", "3.7.3"}},
	"openssl":     {{"libcrypto.so.1.1", "\x00OpenSSL 1.1.1w  11 Sep 2023\x00", "1.1.1w"}},
	"curl":        {{"libcurl.so.4.8.0", "\x00libcurl/8.4.0\x00", "8.4.0"}},
	"git":         {{"git", "\xffgit/2.39.5\x00GIT_USER_AGENT", "2.39.5"}},
	"gnupg":       {{"gpg", "@GPG@ (@GNUPG@)\x002.2.40\x00", "2.2.40"}, {"gpgv", "@GPG@v (GnuPG)\x002.2.40\x00", "2.2.40"}},
	"libgcrypt":   {{"libgcrypt.so.20", "This is Libgcrypt 1.10.1 - The GNU", "1.10.1"}},
	"openssh":     {{"sshd", "\x00OpenSSH_9.2p1 Debian-2", "9.2p1"}},
	"sudo":        {{"sudo", "\x00Sudo version %s\n\x001.9.13p3\x00", "1.9.13p3"}},
	"tini":        {{"docker-init", "tini version 0.19.0", "0.19.0"}},
	"zlib":        {{"libz.so.1.2.13", "\x00 deflate 1.2.13 Copyright 1995", "1.2.13"}},
	"expat":       {{"libexpat.so.1", "\x00expat_2.5.0\x00", "2.5.0"}},
	"openldap":    {{"slapd", "@(#) $OpenLDAP: slapd 2.5.13 (Feb", "2.5.13"}},
	"samba":       {{"smbd", "\x00SAMBA_4.17.12_DEBIAN", "4.17.12"}},
	"ffmpeg":      {{"libavcodec.so.59", "\x00FFmpeg version 5.1.9-0+deb12u1\x00", "5.1.9"}, {"ffmpeg", "\x00%s version n6.0\x00", "6.0"}},
	"imagemagick": {{"libMagickCore-6.Q16.so.6.0.0", "ImageMagick 6.9.11-60 Q16 x86_64", "6.9.11-60"}},
}

// TestClassifierTable: each sign of each row finds its specimen, by the name of
// the file alone and without a sign before it, and each row tells how it was tried.
func TestClassifierTable(t *testing.T) {
	binaries := newClassifyBinary()
	for _, c := range classifiers() {
		texts := specimens[c.product]
		if len(texts) != len(c.signs) {
			t.Errorf("%s has %d signs and %d specimens; want one for each", c.product, len(c.signs), len(texts))
			continue
		}
		if c.tested == "" || strings.HasSuffix(c.tested, ": ") {
			t.Errorf("%s: the row doesn't tell on what it was tried", c.product)
		}
		for i, s := range texts {
			if len(c.signs[i].anchor) == 0 || len(c.signs[i].anchor) > maxAnchor {
				t.Errorf("%s: the anchor %q has %d bytes; want 1 to %d", c.product, c.signs[i].anchor, len(c.signs[i].anchor), maxAnchor)
			}
			f := NewFile("usr/bin/"+s.file, []byte(elfTop+s.text+strings.Repeat("\x00", 8)))
			if !binaries.Wants(&f.Candidate) {
				t.Errorf("%s: %s is not wanted", c.product, s.file)
				continue
			}
			want := []inventory.Package{c.genericPackage(s.want)}
			res, err := binaries.Analyze(t.Context(), f)
			if diff := cmp.Diff(want, res.Packages); diff != "" || err != nil {
				t.Errorf("%s in %s (-want +got), error %v:\n%s", c.product, s.file, err, diff)
			}
			alone, err := findVersion(t.Context(), f, c.signs[i:i+1], searchBuffers())
			if alone != s.want || err != nil {
				t.Errorf("%s: sign %d gives %q, %v; want %q", c.product, i, alone, err, s.want)
			}
		}
	}
}

// TestClassifierNothing: what is no version, or another program's, is not taken
// for one.
func TestClassifierNothing(t *testing.T) {
	binaries := newClassifyBinary()
	for _, tt := range []struct{ file, text string }{
		{"postgres", "psql (PostgreSQL) is not PostgreSQL 15"},
		{"python3.11", "\x003.12.1\x00"},
		{"python3.1", "\x003.11.2\x00"},
		{"openssl", "OPENSSL_3.0.0\x00OpenSSL 3.0.2 without a day\x00"},
		{"redis-server", "\x00Display the Redis version 1.2.3\x00000000000\x00"},
		{"httpd", "Server: Apache/2.4.1.2.3\x00"},
		{"valkey-server", "\x007.2.4\x00c11-builtin\x00"},
		{"[", "\x00[ from coreutils 9.1\x00"},
		{"bash", ""},
		{"redis-cli", "\x007.0.15\x00c11-builtin\x00"},
		{"psql", "\x00PostgreSQL 15.4 \x00"},
	} {
		f := NewFile("usr/bin/"+tt.file, []byte(elfTop+tt.text))
		res, err := binaries.Analyze(t.Context(), f)
		if err != nil || len(res.Packages) > 0 {
			t.Errorf("%s with %q gives %v, %v; want nothing", tt.file, tt.text, res.Packages, err)
		}
	}
}

func TestStemOf(t *testing.T) {
	for base, want := range map[string]fileStem{
		"python3.11": {"python", false}, "python": {"python", false}, "libcrypto.so.3": {"libcrypto", true}, "libcrypto.so": {"libcrypto", true},
		"libpython3.11.so.1.0": {"libpython", true}, "libruby-3.1.so.3.1.2": {"libruby", true}, "libstd-0123456789abcdef.so": {"libstd", true},
		"php-fpm8.2": {"php-fpm", false}, "libMagickCore-7.Q16HDRI.so.10": {"libMagickCore", true}, "libldap-2.5.so.0": {"libldap", true},
		"7": {"7", false}, "": {"", false}, ".so": {".so", false}, "x.sound": {"x.sound", false}, "[": {"[", false}, "1.2": {"1.2", false},
	} {
		if got := stemOf(base); got != want {
			t.Errorf("stemOf(%q) = %+v, want %+v", base, got, want)
		}
	}
}

// TestSearchAtEdges: wherever a window of the search ends, the version is found,
// and never a part of it.
func TestSearchAtEdges(t *testing.T) {
	const text = "\x00PostgreSQL 15.14 on x86_64\x00"
	signs := []sign{{anchor: "PostgreSQL ", pattern: `\x00PostgreSQL (\d+(?:\.\d+)+)`}}
	for _, edge := range []int{searchWindow, searchWindow + searchWindow - searchBefore - searchAfter - maxAnchor} {
		for shift := -40; shift <= 40; shift++ {
			content := bytes.Repeat([]byte{'x'}, 3*searchWindow)
			copy(content[edge+shift:], text)
			f := &File{Candidate: Candidate{Path: "postgres", Size: int64(len(content))}, content: bytes.NewReader(content)}
			got, err := findVersion(t.Context(), f, signs, searchBuffers())
			if got != "15.14" || err != nil {
				t.Fatalf("at %d%+d: %q, %v", edge, shift, got, err)
			}
		}
	}
}

// TestSearchIsBounded: a file of nothing but anchors, or one that can't be read,
// ends.
func TestSearchIsBounded(t *testing.T) {
	f := NewFile("usr/bin/mysqld", append([]byte(elfTop), bytes.Repeat([]byte("\x00mysql/mysql-"), 1<<20)...))
	s := search{buffers: searchBuffers()}
	var err error
	if s.signs, err = compileSigns([]sign{{anchor: "\x00mysql", pattern: `\x00(\d+)\x00+mysql`}}, "mysqld"); err != nil {
		t.Fatal(err)
	}
	if v, _, err := s.file(t.Context(), f); v != "" || err != nil || s.tries[0] != maxTries {
		t.Errorf("%q, %v after %d tries; want nothing after %d", v, err, s.tries[0], maxTries)
	}
	broken := &File{Candidate: f.Candidate, content: failingReaderAt{}}
	if _, err := findVersion(t.Context(), broken, []sign{{anchor: "x", pattern: "(x)"}}, searchBuffers()); err == nil {
		t.Error("no error from a file that can't be read")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	long := &File{Candidate: f.Candidate, content: bytes.NewReader(make([]byte, f.Size))}
	if _, err := findVersion(ctx, long, []sign{{anchor: "x", pattern: "(x)"}}, searchBuffers()); err == nil {
		t.Error("no error from a search that was cancelled")
	}
}

type failingReaderAt struct{}

func (failingReaderAt) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

// TestSearchSkipsCode: constants in the code of an executable are not searched.
func TestSearchRanges(t *testing.T) {
	f := NewFile("x", []byte(elfTop+strings.Repeat("x", 200)))
	f.outline = &executable{format: elfFormat, sections: []section{
		{".text", 100, 50}, {".rodata", 150, 20}, {".eh_frame", 170, 10}, {".debug_info", 175, 20}, {".symtab", -5, 3}, {".strtab", 10, 1 << 40},
	}}
	want := []section{{offset: 0, size: 100}, {offset: 150, size: 20}, {offset: 195, size: f.Size - 195}}
	if diff := cmp.Diff(want, searchRanges(f), cmp.AllowUnexported(section{})); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

// TestClassifiedOwners: a program that a package of the distribution owns keeps
// its owner, also when its layer or a later one only touches it, and in the
// package databases of all managers.
func TestClassifiedOwners(t *testing.T) {
	bash := elfTop + "@(#)Bash version 5.2.15(1) release GNU"
	for name, owns := range map[string]string{
		"dpkg":       "-- layer0/var/lib/dpkg/info/bash.list --\n/.\n/bin/bash\n",
		"distroless": "-- layer0/var/lib/dpkg/status.d/bash.md5sums --\n0123456789abcdef0123456789abcdef  bin/bash\n",
		"apk":        "-- layer0/lib/apk/db/installed --\nP:bash\nV:5.2.15-r0\nF:bin\nR:bash\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			picture := owns + "-- layer0/bin/bash --\n" + bash + "\n-- layer0/usr/local/bin/bash --\n" + bash + "\n"
			var got []string
			for _, f := range runLayer(t, &Runner{Analyzers: Default(), Memory: &Memory{}}, bytes.NewReader(tarOfPicture(t, picture))).Files {
				for _, p := range f.Packages {
					if p.Type == "generic" {
						got = append(got, f.Path+" "+p.Version+" "+f.Owner[strings.IndexByte(f.Owner, ':')+1:])
					}
				}
			}
			if diff := cmp.Diff([]string{"bin/bash 5.2.15 bash", "usr/local/bin/bash 5.2.15 "}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestClassifiedOwnersAcrossLayers: who owns a program is told by the layer that
// brings it, and stays so when later layers rewrite the package database or only
// touch the program; another version over it is nobody's.
func TestClassifiedOwnersAcrossLayers(t *testing.T) {
	const owns = "/var/lib/dpkg/info/bash.list --\n/.\n/bin/bash\n"
	program := func(version string) string {
		return "/bin/bash --\n" + elfTop + "@(#)Bash version " + version + "(1) release GNU\n"
	}
	const status = "/var/lib/dpkg/status --\nPackage: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n"
	base := "-- layer0" + owns + "-- layer0" + status + "-- layer0" + program("5.2.15")
	for name, tt := range map[string]struct {
		later string
		want  []string
	}{
		"the database is rewritten": {"-- layer1/etc/x --\n-- layer2" + status + "\nPackage: x\nStatus: install ok installed\nVersion: 1\n",
			[]string{"5.2.15 of bash, layer 0, present"}},
		"the program is only touched": {"-- layer1" + program("5.2.15"), []string{"5.2.15 of bash, layer 0, present"}},
		"the program is upgraded":     {"-- layer1" + owns + "-- layer1" + program("5.2.21"), []string{"5.2.15 of bash, layer 0, shadowed", "5.2.21 of bash, layer 1, present"}},
		"another is put over it":      {"-- layer1" + program("5.3.0"), []string{"5.2.15 of bash, layer 0, shadowed", "5.3.0 of , layer 1, present"}},
		"the program is deleted":      {"-- layer1/bin/.wh.bash --\n", []string{"5.2.15 of bash, layer 0, removed"}},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := imagetest.Parse([]byte(base + tt.later))
			if err != nil {
				t.Fatal(err)
			}
			var layers []*inventory.Layer
			for i := range spec.Layers {
				b, err := spec.LayerTar(i)
				if err != nil {
					t.Fatal(err)
				}
				layers = append(layers, runLayer(t, &Runner{Analyzers: Default(), Memory: &Memory{}}, bytes.NewReader(b)))
			}
			var got []string
			for _, p := range inventory.Merge(layers).Packages {
				if p.Type == "generic" {
					got = append(got, fmt.Sprintf("%s of %s, layer %d, %s", p.Version, p.Owner, p.Layer, p.State))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzClassifySearch: whatever a file holds, the search ends and gives what the
// pattern matches; in memory and window by window alike.
func FuzzClassifySearch(f *testing.F) {
	for _, s := range specimens {
		f.Add([]byte(s[0].text), uint16(100))
	}
	table := newClassifyBinary()
	files := []string{"mysqld", "redis-server", "python3.11", "libcrypto.so.3", "envoy", "ffmpeg"}
	f.Fuzz(func(t *testing.T, text []byte, pad uint16) {
		content := slices.Concat([]byte(elfTop), bytes.Repeat([]byte{0}, int(pad)*8), text)
		for _, name := range files {
			inMemory := NewFile(name, content)
			onDisk := &File{Candidate: inMemory.Candidate, content: bytes.NewReader(content)}
			a, errA := table.Analyze(t.Context(), inMemory)
			b, errB := table.Analyze(t.Context(), onDisk)
			if diff := cmp.Diff(a, b); diff != "" || errA != nil || errB != nil {
				t.Fatalf("%s: %v, %v, (-memory +disk):\n%s", name, errA, errB, diff)
			}
		}
	})
}

func BenchmarkClassifySearch(b *testing.B) {
	content := make([]byte, 64<<20)
	copy(content, elfTop)
	f := NewFile("usr/bin/mysqld", content)
	table := newClassifyBinary()
	b.SetBytes(f.Size)
	for b.Loop() {
		if _, err := table.Analyze(b.Context(), f); err != nil {
			b.Fatal(err)
		}
	}
}
