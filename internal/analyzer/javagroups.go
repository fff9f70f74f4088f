package analyzer

import "strings"

// mavenGroup gives the group of artifacts that are well known and whose jars,
// not built by Maven, do not tell it; empty for others.
func mavenGroup(artifact, version string) string {
	if g, ok := mavenGroups[artifact]; ok {
		return g
	}
	for _, k := range mavenGroupsMoved {
		if artifact == k.artifact || strings.HasPrefix(artifact, k.artifact+"-") {
			if majorOf(version) >= k.major {
				return k.after
			}
			return k.before
		}
	}
	for _, k := range mavenGroupPrefixes {
		if strings.HasPrefix(artifact, k.prefix) {
			return k.group
		}
	}
	return ""
}

// majorOf is the number that a version starts with.
func majorOf(version string) int {
	n := 0
	for i := 0; i < len(version) && i < 6 && version[i] >= '0' && version[i] <= '9'; i++ {
		n = n*10 + int(version[i]-'0')
	}
	return n
}

// mavenGroupsMoved are projects that changed their group with a major version.
var mavenGroupsMoved = []struct {
	artifact, before, after string
	major                   int
}{
	{"groovy", "org.codehaus.groovy", "org.apache.groovy", 4},
	{"hibernate-core", "org.hibernate", "org.hibernate.orm", 6},
	{"rxjava", "io.reactivex.rxjava2", "io.reactivex.rxjava3", 3},
}

var mavenGroups = map[string]string{
	// Spring Framework, built by Gradle.
	"spring-aop": "org.springframework", "spring-aspects": "org.springframework", "spring-beans": "org.springframework",
	"spring-context": "org.springframework", "spring-context-indexer": "org.springframework", "spring-context-support": "org.springframework",
	"spring-core": "org.springframework", "spring-expression": "org.springframework", "spring-instrument": "org.springframework",
	"spring-jcl": "org.springframework", "spring-jdbc": "org.springframework", "spring-jms": "org.springframework",
	"spring-messaging": "org.springframework", "spring-orm": "org.springframework", "spring-oxm": "org.springframework",
	"spring-r2dbc": "org.springframework", "spring-test": "org.springframework", "spring-tx": "org.springframework",
	"spring-web": "org.springframework", "spring-webflux": "org.springframework", "spring-webmvc": "org.springframework",
	"spring-webmvc-portlet": "org.springframework", "spring-websocket": "org.springframework",
	"spring-kafka": "org.springframework.kafka", "spring-retry": "org.springframework.retry",
	"spring-amqp": "org.springframework.amqp", "spring-rabbit": "org.springframework.amqp",
	"spring-hateoas": "org.springframework.hateoas", "spring-ldap-core": "org.springframework.ldap",
	"spring-ws-core": "org.springframework.ws", "spring-xml": "org.springframework.ws",

	// Tomcat, built by Ant.
	"tomcat-api": "org.apache.tomcat", "tomcat-catalina": "org.apache.tomcat", "tomcat-catalina-ha": "org.apache.tomcat",
	"tomcat-coyote": "org.apache.tomcat", "tomcat-dbcp": "org.apache.tomcat", "tomcat-jasper": "org.apache.tomcat",
	"tomcat-jasper-el": "org.apache.tomcat", "tomcat-jdbc": "org.apache.tomcat", "tomcat-jni": "org.apache.tomcat",
	"tomcat-juli": "org.apache.tomcat", "tomcat-servlet-api": "org.apache.tomcat", "tomcat-tribes": "org.apache.tomcat",
	"tomcat-util": "org.apache.tomcat", "tomcat-util-scan": "org.apache.tomcat", "tomcat-websocket": "org.apache.tomcat",

	"ant": "org.apache.ant", "ant-launcher": "org.apache.ant",
	"asm": "org.ow2.asm", "asm-tree": "org.ow2.asm", "asm-util": "org.ow2.asm", "asm-commons": "org.ow2.asm", "asm-analysis": "org.ow2.asm",
	"axis": "org.apache.axis", "elasticsearch": "org.elasticsearch", "opensearch": "org.opensearch",
	"h2": "com.h2database", "hsqldb": "org.hsqldb", "derby": "org.apache.derby",
	"kafka-clients": "org.apache.kafka", "kafka-streams": "org.apache.kafka", "kafka_2.12": "org.apache.kafka", "kafka_2.13": "org.apache.kafka",
	"mssql-jdbc": "com.microsoft.sqlserver", "mysql-connector-java": "mysql", "mysql-connector-j": "com.mysql", "postgresql": "org.postgresql",
	"okhttp": "com.squareup.okhttp3", "okio": "com.squareup.okio", "okio-jvm": "com.squareup.okio", "retrofit": "com.squareup.retrofit2",
	"reactor-core": "io.projectreactor", "scala-library": "org.scala-lang", "scala-reflect": "org.scala-lang", "scala-compiler": "org.scala-lang",
	"serializer": "xalan", "xalan": "xalan", "xercesImpl": "xerces", "xml-apis": "xml-apis", "bsh": "org.beanshell",
	"struts2-core": "org.apache.struts", "velocity": "org.apache.velocity", "gson": "com.google.code.gson", "guava": "com.google.guava",
}

// mavenGroupPrefixes are tried in this order.
var mavenGroupPrefixes = []struct{ prefix, group string }{
	{"spring-boot", "org.springframework.boot"},
	{"spring-security-", "org.springframework.security"},
	{"spring-data-", "org.springframework.data"},
	{"spring-cloud-", "org.springframework.cloud"},
	{"spring-integration-", "org.springframework.integration"},
	{"spring-batch-", "org.springframework.batch"},
	{"spring-session-", "org.springframework.session"},
	{"tomcat-embed-", "org.apache.tomcat.embed"},
	{"tomcat-i18n-", "org.apache.tomcat"},
	{"kotlin-", "org.jetbrains.kotlin"},
	{"kotlinx-", "org.jetbrains.kotlinx"},
	{"micrometer-", "io.micrometer"},
	{"reactor-netty", "io.projectreactor.netty"},
	{"lucene-", "org.apache.lucene"},
	{"grpc-", "io.grpc"},
	{"bcprov-", "org.bouncycastle"},
	{"bcpkix-", "org.bouncycastle"},
	{"bcpg-", "org.bouncycastle"},
	{"bcutil-", "org.bouncycastle"},
	{"bc-fips", "org.bouncycastle"},
	{"ojdbc", "com.oracle.database.jdbc"},
}

// jarAliases are the short file names under which Tomcat ships its jars.
var jarAliases = map[string]string{
	"annotations-api": "tomcat-annotations-api", "catalina": "tomcat-catalina", "catalina-ha": "tomcat-catalina-ha",
	"catalina-tribes": "tomcat-tribes", "jasper": "tomcat-jasper", "jasper-el": "tomcat-jasper-el",
}
