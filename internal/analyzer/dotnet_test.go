package analyzer

import "testing"

func TestDotnetDeps(t *testing.T) {
	runCases(t, dotnetDeps{}, "nuget", []analyzerCase{
		{"application", "app/shop.deps.json", `{"runtimeTarget":{"name":".NETCoreApp,Version=v8.0"},"libraries":{
			"Shop/1.0.0":{"type":"project","serviceable":false},
			"Newtonsoft.Json/13.0.1":{"type":"package"},
			"Azure.Core/1.2.3-beta.1":{"type":"package"},
			"runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1":{"type":"runtimepack"},
			"odd":{"type":"package"},"/1":{"type":"package"}}}`,
			[]string{"Azure.Core 1.2.3-beta.1", "Newtonsoft.Json 13.0.1", "Microsoft.NETCore.App.Runtime.linux-x64 8.0.1"}, ""},
		{"shared framework", "usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1/Microsoft.NETCore.App.deps.json",
			`{"libraries":{"Microsoft.NETCore.App.Runtime.linux-x64/8.0.1":{"type":"package"}}}`, []string{"Microsoft.NETCore.App.Runtime.linux-x64 8.0.1"}, ""},
		{"no libraries", "app/a.deps.json", `{}`, nil, ""},
		{"not JSON", "app/a.deps.json", `x`, nil, "not valid JSON"},
	})
}

func FuzzDotnetDeps(f *testing.F) {
	f.Add([]byte(`{"libraries":{"a/1":{"type":"package"},"/":{"type":"runtimepack"},"x":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, _ := dotnetDeps{}.Analyze(t.Context(), NewFile("a.deps.json", b))
		requireNamed(t, res)
	})
}
