package analyzer

import "strata/internal/inventory"

// ecosystemBitnami is OSV's name for the advisories of Bitnami, which are about
// programs, whoever built them.
const ecosystemBitnami = "Bitnami"

// How the signs of a classifier were tried, besides by the synthetic file that
// TestClassifierTable makes of each pattern.
const (
	// realCI: by TestRealClassifiers, on the Debian packages that it names.
	realCI = "real: "
	// realHand: by hand, on a Debian 12 package.
	realHand = "by hand: "
	// fromSource: the pattern is from the product's source or from other
	// classifiers' test data, and was not run on a real binary.
	fromSource = "pattern from source, not run on a real binary"
)

// classifiers is the table of products that are known by their executables and
// libraries: of a server, not by its clients, which the server's flaws are not in. Products built with Go are known by their main module instead
// (classifiergo.go), others by files of text (classifierfiles.go).
func classifiers() []classifier {
	return []classifier{
		// Databases and caches.
		{"postgresql", []string{"postgres"}, []sign{
			{anchor: "PostgreSQL ", pattern: `\x00PostgreSQL (\d+(?:\.\d+){0,2}(?:(?:alpha|beta|rc)\d+)?)[ \x00]`},
		}, "postgresql", nil, realCI + "postgresql-15"},
		{"percona-server", []string{"mysqld"}, []sign{
			{anchor: "/percona-server-", pattern: `/percona-server-(\d+\.\d+\.\d+(?:-\d+)?)/`},
		}, "", nil, fromSource},
		{"mariadb", []string{"mariadbd", "mysqld"}, []sign{
			{anchor: "-MariaDB", pattern: `(\d+\.\d+\.\d+)-MariaDB`},
		}, "mariadb", nil, realCI + "mariadb-server-core"},
		// Bitnami's mysql-client is MariaDB's: its ranges would fit all of MySQL.
		{"mysql", []string{"mysqld"}, []sign{
			{anchor: "/mysql-", pattern: `/mysql-(\d+\.\d+\.\d+)(?:-\w+)?/`},
			{anchor: "\x00mysql", pattern: `\x00(\d+\.\d+\.\d+)(?:-\w+)?\x00+mysql`},
		}, "", nil, fromSource},
		{"mongodb", []string{"mongod", "mongos"}, []sign{
			{anchor: "\x00tcmalloc", pattern: `\x00(\d+\.\d+\.\d+)\x00+tcmalloc`},
			{anchor: "\x00heap_size", pattern: `\x00(\d+\.\d+\.\d+)\x00+heap_size`},
			{anchor: "\x00cppdefines", pattern: `\x00(\d+\.\d+\.\d+)\x00+cppdefines`},
		}, "mongodb", nil, fromSource},
		{"redis", []string{"redis-server", "redis-sentinel", "redis-check-rdb", "redis-check-aof"}, append([]sign{
			{anchor: "-builtin\x00", pattern: `\x00(\d+\.\d+\.\d+)\x00+(?:c11|atomic|sync)-builtin\x00`},
		}, redisBuildID()...), "redis", nil, realCI + "redis-tools"},
		{"valkey", []string{"valkey-server", "valkey-sentinel", "valkey-check-rdb", "valkey-check-aof"},
			redisBuildID(), "valkey", nil, fromSource},
		{"keydb", []string{"keydb-server"}, redisBuildID(), "keydb", nil, fromSource},
		{"memcached", []string{"memcached"}, []sign{
			{anchor: "memcached ", pattern: `\x00memcached (\d+\.\d+\.\d+)\x00`},
			{anchor: "VERSION ", pattern: `\x00VERSION (\d+\.\d+\.\d+)\x00`},
		}, "memcached", nil, realCI + "memcached"},
		{"sqlite", []string{"libsqlite3.so", "sqlite3"}, []sign{
			{anchor: "\x003.", pattern: `\x00(3\.\d+\.\d+)\x00`},
		}, "sqlite", nil, realCI + "libsqlite3-0"},
		{"clickhouse", []string{"clickhouse", "clickhouse-server"}, []sign{
			{anchor: "ClickHouse ", pattern: `ClickHouse (\d+\.\d+\.\d+(?:\.\d+)?)\x00`},
		}, "clickhouse", nil, realHand + "clickhouse-server"},
		{"cockroachdb", []string{"cockroach"}, []sign{
			{anchor: "\x00v2", pattern: `\x00v(2\d\.\d\.\d{1,2}(?:-(?:alpha|beta|rc)\.\d+)?)\x00`},
		}, "", []inventory.KnownAs{{Ecosystem: ecosystemGo, Name: "github.com/cockroachdb/cockroach"}}, fromSource},
		{"arangodb", []string{"arangod", "arangosh"}, []sign{
			{anchor: " [linux]", pattern: `\x00(\d+\.\d+\.\d+)(?:-\d+)? (?:enterprise )?\[linux\]`},
		}, "arangodb", nil, fromSource},
		{"pgbouncer", []string{"pgbouncer"}, []sign{
			{anchor: "PgBouncer ", pattern: `\x00PgBouncer (\d+\.\d+\.\d+)`},
		}, "pgbouncer", nil, realHand + "pgbouncer"},
		{"pgpool", []string{"pgpool"}, []sign{
			{anchor: "\x00pgpool-II\x00", pattern: `\x00(\d+\.\d+(?:\.\d+)?)\x00+pgpool-II\x00`},
		}, "pgpool", nil, realHand + "pgpool2"},

		// Web servers and proxies.
		{"openresty", []string{"nginx", "openresty"}, []sign{
			{anchor: "nginx version: ", pattern: `nginx version: openresty/(\d+(?:\.\d+){3})`},
		}, "openresty", nil, fromSource},
		{"nginx", []string{"nginx", "nginx-debug"}, []sign{
			{anchor: "nginx version: ", pattern: `nginx version: nginx/(\d+\.\d+\.\d+)`},
		}, "nginx", nil, realCI + "nginx"},
		{"httpd", []string{"httpd", "apache2"}, []sign{
			{anchor: "Apache/", pattern: `\x00Apache/(\d+\.\d+\.\d+)[ \x00]`},
		}, "apache", nil, realCI + "apache2-bin"},
		{"haproxy", []string{"haproxy"}, []sign{
			{anchor: ", released 20", pattern: `version (\d+\.\d+(?:\.\d+|-dev\d+))(?:-[^,\x00]+)?, released 20\d\d/`},
			{anchor: "HA-Proxy version ", pattern: `HA-Proxy version (\d+\.\d+(?:\.\d+|-dev\d+))`},
		}, "haproxy", nil, realCI + "haproxy"},
		{"envoy", []string{"envoy"}, []sign{
			{anchor: "envoy_reloadable_features", pattern: `(?s)\x00(1\.\d\d\.\d{1,2}(?:-dev)?)\x00.{0,900}envoy_reloadable_features`},
			{anchor: "envoy.reloadable_features", pattern: `(?s)\x00(1\.\d\d\.\d{1,2}(?:-dev)?)\x00.{0,200}envoy\.reloadable_features`},
			{anchor: "envoy_quic_", pattern: `(?s)envoy_quic_.{0,900}\x00(1\.2\d\.\d{1,2}(?:-dev)?)\x00`},
			{anchor: "\x00RELEASE", pattern: `\x00(1\.\d{1,2}\.\d{1,2}(?:-dev)?)\x00.{0,20}RELEASE`},
		}, "envoy", nil, fromSource},
		{"lighttpd", []string{"lighttpd"}, []sign{
			{anchor: "lighttpd/", pattern: `\x00lighttpd/(\d+\.\d+\.\d+)[ \x00]`},
		}, "", nil, realCI + "lighttpd"},
		{"varnish", []string{"varnishd"}, []sign{
			{anchor: "varnish-", pattern: `varnish-(\d+\.\d+\.\d+) revision`},
		}, "varnish", nil, realCI + "varnish"},
		{"unbound", []string{"unbound"}, []sign{
			{anchor: "unbound ", pattern: `\x00unbound (\d+\.\d+\.\d+)\x00`},
		}, "", nil, realHand + "unbound"},
		{"vsftpd", []string{"vsftpd"}, []sign{
			{anchor: "(vsFTPd ", pattern: `\(vsFTPd (\d+\.\d+\.\d+)\)`},
		}, "", nil, realHand + "vsftpd"},
		{"proftpd", []string{"proftpd"}, []sign{
			{anchor: "ProFTPD Version ", pattern: `ProFTPD Version (\d+\.\d+\.\d+[a-z]?)\x00`},
		}, "", nil, realHand + "proftpd-core"},
		{"mosquitto", []string{"mosquitto"}, []sign{
			{anchor: "mosquitto version %s", pattern: `\x00(\d+\.\d+\.\d+)\x00+mosquitto version %s`},
		}, "", nil, realHand + "mosquitto"},
		{"dovecot", []string{"dovecot"}, []sign{
			{anchor: "Dovecot v", pattern: `Dovecot v(\d+(?:\.\d+){2,3}) \(`},
		}, "", nil, realHand + "dovecot-core"},
		{"fluent-bit", []string{"fluent-bit"}, []sign{
			{anchor: "Fluent Bit", pattern: `\x00(\d+\.\d+\.\d+)\x00+(?:\x1b\[1m\x00+)?(?:%s)?Fluent Bit`},
		}, "fluent-bit", nil, fromSource},

		// Languages and their runtimes.
		{"node", []string{"node", "nodejs", "libnode.so"}, []sign{
			{anchor: "/download/release/v", pattern: `/download/release/v(\d+\.\d+\.\d+)/node-v`},
			{anchor: "node.js/v", pattern: `node\.js/v(\d+\.\d+\.\d+)`},
		}, "node", nil, realCI + "libnode108"},
		{"deno", []string{"deno"}, []sign{
			{anchor: "Deno/", pattern: `Deno/(\d+\.\d+\.\d+)`},
		}, "", []inventory.KnownAs{{Ecosystem: ecosystemCargo, Name: "deno"}}, fromSource},
		{"bun", []string{"bun"}, []sign{
			{anchor: "Bun/", pattern: `\bBun/(\d+\.\d+\.\d+)`},
			{anchor: "Bun v", pattern: `\bBun v(\d+\.\d+\.\d+)`},
		}, "", []inventory.KnownAs{{Ecosystem: ecosystemNPM, Name: "bun"}}, fromSource},
		{"python", []string{"python", "libpython.so"}, []sign{
			{anchor: "\x003.", pattern: `\x00(3\.\d+\.\d+(?:(?:a|b|rc)\d+)?)\+?\x00`, named: true},
			{anchor: "\x002.", pattern: `\x00(2\.\d+\.\d+(?:(?:a|b|rc)\d+)?)\+?\x00`, named: true},
		}, "python", nil, realCI + "python3.11-minimal, libpython3.11"},
		{"pypy", []string{"libpypy-c.so", "libpypy3-c.so", "libpypy3.9-c.so", "libpypy3.10-c.so", "libpypy3.11-c.so"}, []sign{
			{anchor: "[PyPy ", pattern: `\[PyPy (\d+\.\d+\.\d+)`},
		}, "", nil, realHand + "pypy3"},
		{"php", []string{"php", "php-fpm", "php-cgi", "php-cli", "libphp.so", "phpdbg"}, []sign{
			{anchor: "X-Powered-By: PHP/", pattern: `PHP/(\d+\.\d+\.\d+(?:(?:alpha|beta|RC)\d+)?)`},
		}, "php", nil, realCI + "php8.2-cli; " + realHand + "libphp8.2-embed"},
		{"perl", []string{"perl", "libperl.so"}, []sign{
			{anchor: "\x00v5.", pattern: `\x00v(5\.\d+\.\d+)\x00`},
			{anchor: "/lib/perl5/", pattern: `/lib/perl5/(5\.\d+\.\d+)[/\x00]`},
		}, "", nil, realCI + "perl-base, libperl5.36"},
		{"ruby", []string{"ruby", "libruby.so"}, []sign{
			{anchor: "ruby ", pattern: `\x00ruby (\d+\.\d+\.\d+(?:(?:preview|rc)\d+|dev)?)(?:p\d+)? \(\d{4}-\d\d-\d\d`},
		}, "ruby", nil, realCI + "libruby3.1"},
		{"rust", []string{"rustc", "librustc_driver.so", "libstd.so"}, []sign{
			{anchor: "rustc version ", pattern: `rustc version (\d+\.\d+\.\d+)`},
			{anchor: "/usr/src/rustc-", pattern: `/usr/src/rustc-(\d+\.\d+\.\d+)/`},
		}, "", nil, realHand + "libstd-rust-1.63"},
		{"julia", []string{"libjulia-internal.so"}, []sign{
			{anchor: "__init__\x00", pattern: `__init__\x00(\d+\.\d+\.\d+)\x00verify`},
		}, "", nil, fromSource},
		{"lua", []string{"lua", "luac", "liblua.so"}, []sign{
			{anchor: "Lua 5.", pattern: `Lua (5\.\d\.\d+) +Copyright`},
		}, "lua", nil, realCI + "lua5.4, liblua5.4-0; " + realHand + "lua5.1"},
		{"luajit", []string{"luajit", "libluajit-5.1.so"}, []sign{
			{anchor: "LuaJIT 2.", pattern: `LuaJIT (2\.\d+\.\d+(?:-beta\d+)?)(?: --|\x00)`},
		}, "", nil, realHand + "luajit"},
		{"dart", []string{"dart", "dartvm", "dartaotruntime"}, []sign{
			{anchor: " (stable)", pattern: `\x00(\d+\.\d+\.\d+) \(stable\)`},
			{anchor: " (beta)", pattern: `\x00(\d+\.\d+\.\d+-\d+(?:\.\d+)?\.beta) \(beta\)`},
		}, "", nil, fromSource},

		// Tools and libraries that are often built from source.
		{"busybox", []string{"busybox", "["}, []sign{
			{anchor: "BusyBox v", pattern: `BusyBox v(\d+\.\d+\.\d+)`},
		}, "", nil, realCI + "busybox, busybox-static"},
		{"bash", []string{"bash"}, []sign{
			{anchor: "@(#)Bash version ", pattern: `@\(#\)Bash version (\d+\.\d+\.\d+)\(`},
		}, "", nil, realCI + "bash"},
		{"libressl", []string{"libcrypto.so", "openssl"}, []sign{
			{anchor: "LibreSSL ", pattern: `\x00LibreSSL (\d+\.\d+\.\d+)\x00`},
		}, "", nil, fromSource},
		{"openssl", []string{"libcrypto.so", "openssl"}, []sign{
			{anchor: "OpenSSL ", pattern: `\x00OpenSSL (\d+\.\d+\.\d+[a-z]*(?:-(?:alpha|beta|pre)\d+)?)(?:-fips)? +\d{1,2} [A-Z][a-z]{2} 20\d\d`},
		}, "", nil, realCI + "libssl3, openssl"},
		{"curl", []string{"curl", "libcurl.so", "libcurl-gnutls.so"}, []sign{
			{anchor: "curl/", pattern: `\x00(?:lib)?curl/(\d+\.\d+\.\d+)[ \x00]`},
		}, "", nil, realCI + "curl, libcurl4"},
		{"git", []string{"git"}, []sign{
			{anchor: "git/", pattern: `(?:^|[^\w/.])git/(\d+\.\d+\.\d+)[.\x00]`},
		}, "git", nil, realHand + "git"},
		{"gnupg", []string{"gpg", "gpgv", "gpgsm", "gpg-agent"}, []sign{
			{anchor: "(@GNUPG@)\x00", pattern: `\(@GNUPG@\)\x00+(\d+\.\d+\.\d+)\x00`},
			{anchor: "@GPG@v (GnuPG)\x00", pattern: `\(GnuPG\)\x00+(\d+\.\d+\.\d+)\x00`},
		}, "", nil, realCI + "gpgv; " + realHand + "gpg"},
		{"libgcrypt", []string{"libgcrypt.so"}, []sign{
			{anchor: "This is Libgcrypt ", pattern: `This is Libgcrypt (\d+\.\d+\.\d+) `},
		}, "", nil, realHand + "libgcrypt20"},
		{"openssh", []string{"sshd", "ssh"}, []sign{
			{anchor: "OpenSSH_", pattern: `\x00OpenSSH_(\d+\.\d+p\d+)[ \x00]`},
		}, "", nil, realHand + "openssh-client, openssh-server"},
		{"sudo", []string{"sudo"}, []sign{
			{anchor: "Sudo version %s", pattern: `Sudo version %s\n?\x00+(\d+\.\d+\.\d+(?:p\d+)?)\x00`},
		}, "", nil, realHand + "sudo"},
		{"tini", []string{"tini", "docker-init"}, []sign{
			{anchor: "tini version ", pattern: `tini version (\d+\.\d+\.\d+)`},
		}, "", nil, realCI + "tini"},
		{"zlib", []string{"libz.so"}, []sign{
			{anchor: " deflate 1.", pattern: ` deflate (1\.\d+(?:\.\d+){0,2}) Copyright`},
		}, "", nil, realCI + "zlib1g"},
		{"expat", []string{"libexpat.so"}, []sign{
			{anchor: "expat_2.", pattern: `\x00expat_(2\.\d+\.\d+)\x00`},
		}, "", nil, realCI + "libexpat1"},
		{"openldap", []string{"slapd"}, []sign{
			{anchor: "$OpenLDAP: ", pattern: `\$OpenLDAP: \w+ (\d+\.\d+\.\d+)`},
		}, "openldap", nil, realHand + "slapd"},
		{"samba", []string{"smbd", "nmbd", "winbindd", "samba", "smbclient"}, []sign{
			{anchor: "SAMBA_4.", pattern: `\x00SAMBA_(4\.\d+\.\d+)`},
		}, "", nil, realHand + "samba"},
		{"ffmpeg", []string{"ffmpeg", "ffprobe", "libavutil.so", "libavcodec.so", "libavformat.so"}, []sign{
			{anchor: "FFmpeg version ", pattern: `FFmpeg version n?(\d+\.\d+(?:\.\d+)?)[-\x00]`},
			{anchor: "%s version ", pattern: `%s version n?(\d+\.\d+(?:\.\d+)?)[-\x00 \n]`},
		}, "", nil, realHand + "ffmpeg, libavcodec59, libavutil57"},
		{"imagemagick", []string{"libMagickCore-7.Q16.so", "libMagickCore-7.Q16HDRI.so", "magick"}, []sign{
			{anchor: "ImageMagick ", pattern: `ImageMagick (\d+\.\d+\.\d+-\d+) Q`},
		}, "", nil, realHand + "libmagickcore-6.q16-6"},
	}
}

// redisBuildID are the signs of Redis and what was made of it: one constant of
// the version, the machine it was built on, and the time in nanoseconds, all
// without a gap (Redis, src/mkreleasehdr.sh). The machine is a name, or a
// container's id of twelve digits, or left out in a reproducible build.
func redisBuildID() []sign {
	const end = "000000000\x00"
	return []sign{
		{anchor: end, pattern: `(?:^|[^\d.])(\d+\.\d+\.\d{1,2})(?:[0-9a-f]{12}-)?1\d{9}0{9}\x00`},
		{anchor: end, pattern: `(?:^|[^\d.])(\d+\.\d+\.\d+)[A-Za-z][\w.-]*-1\d{9}0{9}\x00`},
	}
}
