package policy

import (
	"fmt"
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"strata/internal/advisory"
)

const (
	// maxExpression is how many characters an expression has at most.
	maxExpression = 16 << 10
	// maxNodes is how many terms.
	maxNodes = 2000
	// maxNesting is how deep they are nested.
	maxNesting = 100
	// maxCost is what one evaluation may cost, in the units of CEL, of which a
	// comparison has about one. An honest rule over a finding costs some ten, one
	// over all findings of a large image some 100,000.
	maxCost = 2_000_000
	// maxTotalCost is what a rule may cost over all that it goes over in an image.
	maxTotalCost = 6_000_000
	// maxImageCost is what all rules together may cost.
	maxImageCost = 40_000_000
)

// A language is CEL with our types and functions: what expressions are checked
// and compiled with.
type language struct {
	env   *cel.Env
	types map[string]*fieldSet
}

func newLanguage() (*language, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	l := &language{types: map[string]*fieldSet{}}
	p := &provider{Registry: registry, types: map[string]*typeOf{}}
	for _, set := range fieldSets() {
		l.types[set.name] = set
		p.types[set.name] = newTypeOf(set)
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(p), cel.CustomTypeAdapter(&adapter{Registry: registry}),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ExpressionNodeLimit(maxNodes),
		cel.ParserRecursionLimit(maxNesting), cel.ExpressionNestingDepthLimit(maxNesting),
		cel.CrossTypeNumericComparisons(true),
		ext.Strings(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
		cel.Variable("now", cel.TimestampType),
		severityFunction(),
	}
	for _, set := range fieldSets() {
		if set.variable != "" {
			options = append(options, cel.Variable(renamePackage(set.variable), cel.ObjectType(set.name)))
		}
	}
	l.env, err = cel.NewEnv(options...)
	return l, err
}

// severityFunction is severity("high"), the rank of a severity by its name.
func severityFunction() cel.EnvOption {
	return cel.Function("severity", cel.Overload("severity_string", []*cel.Type{cel.StringType}, cel.IntType,
		cel.UnaryBinding(func(v ref.Val) ref.Val {
			word, ok := v.Value().(string)
			if s := advisory.Severity(word); ok && valid(s) {
				return types.Int(s.Rank())
			}
			return types.NewErr("severity(%q): want one of %s", word, severityNames())
		})))
}

// A typeOf is a fieldSet as CEL asks for it.
type typeOf struct {
	names  []string
	fields map[string]*types.FieldType
}

func newTypeOf(set *fieldSet) *typeOf {
	t := &typeOf{fields: map[string]*types.FieldType{}}
	for i := range set.fields {
		f := &set.fields[i]
		t.names = append(t.names, f.name)
		known := f.known
		if known == nil {
			known = func(any) bool { return true }
		}
		t.fields[f.name] = &types.FieldType{
			Type: f.typ, IsSet: known, GetFrom: func(v any) (any, error) { return f.get(v), nil },
		}
	}
	return t
}

// A provider tells CEL of our types. Values of them can't be made by expressions.
type provider struct {
	*types.Registry
	types map[string]*typeOf
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if p.types[name] != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if t := p.types[name]; t != nil {
		return t.names, true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if t := p.types[name]; t != nil {
		f, ok := t.fields[field]
		return f, ok
	}
	return p.Registry.FindStructFieldType(name, field)
}

// NewValue implements types.Provider.
func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if p.types[name] != nil {
		return types.NewErr("%s: can only be read", name)
	}
	return p.Registry.NewValue(name, fields)
}

// An adapter makes CEL's values of ours.
type adapter struct{ *types.Registry }

// NativeToValue implements types.Adapter.
func (a *adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case ref.Val:
		return v
	case string:
		return types.String(v)
	case bool:
		return types.Bool(v)
	case int:
		return types.Int(v)
	case float64:
		return types.Double(v)
	case time.Time:
		return types.Timestamp{Time: v}
	case *Finding:
		return value{v, findingType}
	case *Package:
		return value{v, packageType}
	case *License:
		return value{v, licenseType}
	case *Layer:
		return value{v, layerType}
	case *Image:
		return value{v, imageType}
	case *Distro:
		return value{v, distroType}
	case *Base:
		return value{v, baseType}
	case []*Layer:
		return types.NewDynamicList(a, v)
	case []*Package:
		return types.NewDynamicList(a, v)
	case []*Finding:
		return types.NewDynamicList(a, v)
	}
	return a.Registry.NativeToValue(v)
}

// A value is one of ours where CEL wants its own kind.
type value struct {
	of  any
	typ *types.Type
}

// ConvertToNative implements ref.Val.
func (v value) ConvertToNative(t reflect.Type) (any, error) {
	if reflect.TypeOf(v.of).AssignableTo(t) {
		return v.of, nil
	}
	return nil, fmt.Errorf("%s is no %s", v.typ.TypeName(), t)
}

// ConvertToType implements ref.Val.
func (v value) ConvertToType(t ref.Type) ref.Val {
	if t.TypeName() == types.TypeType.TypeName() {
		return v.typ
	}
	return types.NewErr("%s can't be made a %s: name one of its fields", v.typ.TypeName(), t.TypeName())
}

// Equal implements ref.Val.
func (v value) Equal(other ref.Val) ref.Val {
	o, ok := other.(value)
	return types.Bool(ok && o.of == v.of)
}

// Type implements ref.Val.
func (v value) Type() ref.Type { return v.typ }

// Value implements ref.Val.
func (v value) Value() any { return v.of }

// A scope is what the variables of an expression are, for one subject.
type scope struct {
	finding *Finding
	pkg     *Package
	license *License
	layer   *Layer
	image   *Image
	now     time.Time
	// spent is what evaluations of the rule have cost so far, of all rules those of
	// the image.
	spent   uint64
	ofImage *uint64
}

// ResolveName implements cel.Activation.
func (s *scope) ResolveName(name string) (any, bool) {
	switch name {
	case "finding":
		return s.finding, s.finding != nil
	case standIn:
		return s.pkg, s.pkg != nil
	case "license":
		return s.license, s.pkg != nil
	case "layer":
		return s.layer, s.layer != nil
	case "image":
		return s.image, true
	case "now":
		return s.now, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (s *scope) Parent() cel.Activation { return nil }
