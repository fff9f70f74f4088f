package report

import (
	"cmp"
	"reflect"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/policy"
)

// normal returns the report in the form in which it is encoded: every nil slice
// empty, since arrays are never null, every string valid UTF-8 (this holds for
// all fields, so that a new one can't be forgotten), and zero values that have a
// word written as that word. r is not changed.
func normal(r Report) Report {
	var n Report
	normalize(reflect.ValueOf(&n).Elem(), reflect.ValueOf(r))
	n.SchemaVersion = cmp.Or(n.SchemaVersion, SchemaVersion)
	n.Verdict.Decision = cmp.Or(n.Verdict.Decision, policy.Pass)
	for i := range n.Packages {
		n.Packages[i].State = cmp.Or(n.Packages[i].State, inventory.Present)
	}
	for i := range n.Findings {
		f := &n.Findings[i]
		f.Kind = cmp.Or(f.Kind, KindVulnerability)
		f.Severity = cmp.Or(f.Severity, advisory.Unknown)
		f.Status = cmp.Or(f.Status, Affected)
		f.State = cmp.Or(f.State, inventory.Present)
	}
	return n
}

// normalize sets dst, which is zero, to the normal form of src. Structs with
// unexported fields (time.Time) are values of their own and taken as they are.
func normalize(dst, src reflect.Value) {
	switch src.Kind() {
	case reflect.String:
		dst.SetString(validUTF8(src.String()))
	case reflect.Slice:
		dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
		for i := range src.Len() {
			normalize(dst.Index(i), src.Index(i))
		}
	case reflect.Map:
		if src.Len() > 0 { // an absent one stays absent
			dst.Set(reflect.MakeMapWithSize(src.Type(), src.Len()))
			for key, value := range src.Seq2() {
				k, v := reflect.New(key.Type()).Elem(), reflect.New(value.Type()).Elem()
				normalize(k, key)
				normalize(v, value)
				dst.SetMapIndex(k, v)
			}
		}
	case reflect.Pointer:
		if !src.IsNil() {
			dst.Set(reflect.New(src.Type().Elem()))
			normalize(dst.Elem(), src.Elem())
		}
	case reflect.Struct:
		dst.Set(src)
		for i := range src.NumField() {
			if field := dst.Field(i); field.CanSet() {
				field.SetZero()
				normalize(field, src.Field(i))
			}
		}
	default:
		dst.Set(src)
	}
}
