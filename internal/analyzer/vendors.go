package analyzer

import "strings"

// Some packages in a distribution's database are not the distribution's: makers of
// servers have repositories of their own, from which many official images are
// built. Nobody but the maker patches these, and no advisory of the distribution
// is about them. They are told by who is named as maintainer or vendor, and by
// marks that their makers put into versions.
//
// Not having an address of the distribution proves nothing: many maintainers of
// Debian have one of their own.

// vendorMaintainers are parts, in lower case, of Maintainer in packages of dpkg and
// apk that makers publish themselves.
var vendorMaintainers = [...]string{
	"nginx-packaging@", "@nginx.com", "@openresty.com", "@haproxy.com", "@varnish-software.com", "@traefik.io",
	"@mongodb.com", "maria-developers@lists.launchpad.net", "@mariadb.org", "@mariadb.com", "@percona.com", "@oss.oracle.com",
	"@redis.io", "@redis.com", "@redislabs.com", "@clickhouse.com", "@influxdata.com", "@influxdb.com", "@timescale.com", "@cockroachlabs.com",
	"@elastic.co", "@confluent.io", "@neo4j.com", "@couchbase.com", "@rabbitmq.com", "team rabbitmq",
	"@grafana.com", "@hashicorp.com", "@releases.hashicorp.com", "@docker.com", "@gitlab.com", "@nodesource.com",
	"temurin-dev@", "@azul.com", "amazon corretto", "@bell-sw.com", "dotnetpackages@dotnetfoundation.org", "@microsoft.com",
	"google cloud cli authors", "@cloudflare.com", "@datadoghq.com",
}

// vendorRPMs are beginnings, in lower case, of Vendor in packages of RPM. Vendors
// that are a distribution's as well (Microsoft, Amazon) are not among them.
var vendorRPMs = [...]string{
	"nginx packaging", "nginx, inc", "mongodb", "oracle and/or its affiliates", "mariadb", "percona", "postgresql global development group",
	"elastic", "grafana", "hashicorp", "docker", "nodesource", "redis ", "clickhouse", "influxdata", "confluent", "eclipse adoptium", "azul systems",
	"timescale", "gitlab", "rabbitmq", "datadog",
}

// vendorVersions are parts of the versions of such packages: PostgreSQL's own
// repository, NodeSource's, MariaDB's.
var vendorVersions = [...]string{"pgdg", "PGDG", "nodesource", "+maria~"}

// byVendor tells whether a package is one that its maker publishes. The type is
// that of the package, who its maintainer or vendor.
func byVendor(typ, version, who string) bool {
	for _, mark := range vendorVersions {
		if strings.Contains(version, mark) {
			return true
		}
	}
	if who == "" {
		return false
	}
	who = strings.ToLower(who)
	if typ == "rpm" {
		for _, v := range vendorRPMs {
			if strings.HasPrefix(who, v) {
				return true
			}
		}
		return false
	}
	for _, m := range vendorMaintainers {
		if strings.Contains(who, m) {
			return true
		}
	}
	return false
}
