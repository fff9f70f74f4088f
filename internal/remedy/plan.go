package remedy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
)

// New makes the plan. The error is for a Dockerfile without the target stage; the
// plan is then none.
func New(in Input) (*Plan, error) {
	p := &planner{Input: in, managers: managers()}
	p.plan = &Plan{
		SchemaVersion: SchemaVersion,
		Image:         Subject{Reference: in.Image.Reference, Digest: string(in.Image.Digest), Platform: in.Image.Platform.String()},
	}
	if b := in.Image.Base; b != nil {
		p.plan.Image.Base, p.plan.Image.BaseLayers, p.base = b.Reference, b.Layers, b.Layers
	}
	if err := p.readDockerfile(); err != nil {
		return nil, err
	}
	p.sortFindings()
	p.baseStep()
	p.packageSteps()
	p.order()
	p.stays()
	p.rebuilds()
	for _, e := range in.Match.Ended {
		p.note("%s", e.Summary)
	}
	p.plan.Diff = p.diff()
	p.noDiff()
	return p.plan, nil
}

// A planner makes one plan.
type planner struct {
	Input
	plan     *Plan
	managers []manager
	// base is how many of the layers are the base's.
	base int
	// stage of the Dockerfile, and where its layers were made.
	stage  int
	places map[int]place

	// active are the findings that count, by index, open those of them that no step
	// removes yet.
	active []int
	open   map[int]bool
	// drafts are the steps with what is not told.
	drafts []draft
	// upgrades are the best of each package.
	upgrades map[int][]match.Upgrade
}

// A draft is a step before it is in its place.
type draft struct {
	Step
	edits []edit
	// fixes are the findings that it removes.
	fixes []int
}

func (p *planner) readDockerfile() error {
	d := p.Dockerfile
	if d == nil {
		return nil
	}
	var err error
	if p.stage, err = d.stage(p.Target); err != nil {
		return err
	}
	own := p.Image.Layers[min(p.base, len(p.Image.Layers)):]
	p.places = d.align(p.stage, own)
	if len(own) > 0 && len(p.places) == 0 {
		p.note("no layer of the image was made by an instruction of %s as it is: was the image built from it? (--target tells the stage)", d.Path)
	}
	return nil
}

// noDiff tells why there is no diff where one was to be expected. A step on the base says so
// itself.
func (p *planner) noDiff() {
	if p.plan.Diff != "" || len(p.places) == 0 || len(p.plan.Steps) == 0 || slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Kind == StepBase }) {
		return
	}
	p.note("no line of %s changes, so there is no diff: each step says where its versions are decided", p.Dockerfile.Path)
}

func (p *planner) note(format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, args...))
}

// pkg is the package of a finding.
func (p *planner) pkg(f int) *inventory.ImagePackage {
	return &p.Inventory.Packages[p.Match.Findings[f].Package]
}

func (p *planner) ref(f int) Ref { return refOf(&p.Match.Findings[f], p.Inventory) }

func refOf(f *match.Finding, inv *inventory.Image) Ref {
	pkg := &inv.Packages[f.Package]
	return Ref{ID: f.ID, Severity: f.Severity, KEV: f.KEV, EPSS: f.EPSS, Type: pkg.Type, Package: pkg.Name, Version: pkg.Version}
}

func (p *planner) refs(findings []int) []Ref {
	refs := make([]Ref, len(findings))
	for i, f := range findings {
		refs[i] = p.ref(f)
	}
	sortRefs(refs)
	return refs
}

// sortRefs puts what weighs most first.
func sortRefs(refs []Ref) {
	slices.SortStableFunc(refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(b.risk(), a.risk()), cmp.Compare(a.Package, b.Package), cmp.Compare(a.ID, b.ID))
	})
}

// planned tells whether a finding is one that a plan is about: a vulnerability of
// a package, not set aside.
func planned(m *match.Result, inv *inventory.Image, i int) bool {
	f := &m.Findings[i]
	return f.Suppressed == nil && f.Package >= 0 && f.Package < len(inv.Packages) && f.PackageID != ""
}

func present(f *match.Finding) bool {
	return f.State != inventory.Shadowed && f.State != inventory.Removed
}

func (p *planner) sortFindings() {
	p.open, p.upgrades = map[int]bool{}, map[int][]match.Upgrade{}
	for i := range p.Match.Findings {
		if planned(p.Match, p.Inventory, i) && present(&p.Match.Findings[i]) {
			p.active = append(p.active, i)
			p.open[i] = true
			p.plan.Before.add(p.Match.Findings[i].Severity, 1)
		}
	}
	for _, u := range p.Match.Upgrades {
		p.upgrades[u.Package] = append(p.upgrades[u.Package], u)
	}
}

// packageSteps plans the upgrades of packages: in the instruction that brought
// them, in a file of the project, or by a new instruction.
func (p *planner) packageSteps() {
	byPackage := map[int][]int{}
	for _, f := range p.active {
		if p.open[f] {
			byPackage[p.Match.Findings[f].Package] = append(byPackage[p.Match.Findings[f].Package], f)
		}
	}
	byLayer := map[int][]*Change{}
	var lower []*Change
	for _, pkg := range slices.Sorted(maps.Keys(byPackage)) {
		ch := p.change(pkg, byPackage[pkg])
		if ch == nil {
			continue
		}
		if layer := p.Inventory.Packages[pkg].Layer; layer >= p.base && layer < len(p.Image.Layers) && p.ours(layer, ch) {
			byLayer[layer] = append(byLayer[layer], ch)
		} else if p.Inventory.Packages[pkg].Distribution() {
			lower = append(lower, ch)
		}
	}
	for _, layer := range slices.Sorted(maps.Keys(byLayer)) {
		p.layerSteps(layer, byLayer[layer])
	}
	p.upgradeStep(lower)
}

// change is the upgrade of one package; nil when none fixes anything.
func (p *planner) change(pkg int, findings []int) *Change {
	ip := &p.Inventory.Packages[pkg]
	options := p.upgrades[pkg]
	if len(options) == 0 {
		return nil
	}
	u := options[len(options)-1] // the one that fixes all that can be
	ch := &Change{
		index: pkg, PackageID: ip.ID, Type: ip.Type, Name: ip.Name, From: ip.Version, To: u.Version, Major: !u.SameBranch,
		Fixes: u.Fixes, Leaves: u.Leaves, Brings: u.Brings,
	}
	if len(options) > 1 {
		ch.InBranch, ch.InBranchFixes = options[0].Version, options[0].Fixes
	}
	if len(ip.Locations) > 0 {
		ch.Path = ip.Locations[0].Path
	}
	source := cmp.Or(ip.SourceVersion, ip.Version)
	ch.sourceVersion = ip.Distribution() && source != ip.Version
	for _, f := range findings {
		if slices.Contains(u.Fixes, p.Match.Findings[f].ID) {
			ch.fixes = append(ch.fixes, f)
			r := p.ref(f)
			ch.risk += r.risk()
		} else {
			ch.leaves = append(ch.leaves, f)
		}
	}
	if len(ch.fixes) == 0 {
		return nil
	}
	return ch
}

// instruction is that of a layer as the Dockerfile has it, else as the history.
func (p *planner) instruction(layer int) *site {
	if at, ok := p.places[layer]; ok {
		i := &p.Dockerfile.Stages[at.stage].Instructions[at.n]
		return &site{file: p.Dockerfile.text, Instruction: i, vars: p.Dockerfile.variables(at.stage, at.n), managers: p.managers}
	}
	text := image.Instruction(p.Image.Layers[layer].CreatedBy)
	return &site{file: text, Instruction: recorded(text), managers: p.managers}
}

// recorded is an instruction of a build history.
func recorded(text string) *Instruction {
	i := &Instruction{text: text, end: len(text)}
	for n := range len(text) + 1 {
		i.at = append(i.at, n)
	}
	i.split()
	return i
}

// ours tells whether the layer's instruction is where the package's version is
// decided: language packages are, a distribution's packages only where a package
// manager is called.
func (p *planner) ours(layer int, ch *Change) bool {
	if !p.Inventory.Packages[ch.index].Distribution() {
		return true
	}
	s := p.instruction(layer)
	for _, script := range s.scripts(s.file) {
		for _, k := range calls(p.managers, script.commands) {
			if slices.Contains(k.manager.types, ch.Type) && k.install {
				return true
			}
		}
	}
	return false
}

// layerSteps are the changes of one layer: one of the instruction, and one of each
// file of the project.
func (p *planner) layerSteps(layer int, changes []*Change) {
	s := p.instruction(layer)
	made := p.propose(s, changes)
	files := map[string][]*Change{}
	var here []*Change
	for _, ch := range changes {
		switch {
		case ch.File == "":
			here = append(here, ch)
		case ch.Major: // a step of its own: more may change than the findings
			files[ch.File+majorStep] = append(files[ch.File+majorStep], ch)
		default:
			files[ch.File] = append(files[ch.File], ch)
		}
	}
	if len(here) > 0 {
		d := p.draft(StepInstruction, layer, s, here)
		d.Notes = append(made.notes, p.elsewhere(s, made.edits)...)
		if s.Line > 0 { // else they are edits of the history
			d.edits = made.edits
		}
		if d.Proposed = s.proposed(made.edits); d.Proposed == d.Instruction {
			d.Proposed = ""
		}
		d.Title = p.title(here, s)
		p.drafts = append(p.drafts, d)
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		d := p.draft(StepProject, layer, s, files[file])
		d.Title = fmt.Sprintf("In %s, take %s", strings.TrimSuffix(file, majorStep), p.names(files[file]))
		if strings.HasPrefix(file, goToolchain) {
			d.Title = fmt.Sprintf("Build with Go %s or newer", files[file][0].To)
			p.editToolchain(&d, files[file][0].To)
		}
		d.Command = projectCommand(strings.TrimSuffix(file, majorStep), files[file])
		if note := projectNote(strings.TrimSuffix(file, majorStep)); note != "" {
			d.Notes = append(d.Notes, note)
		}
		if from := s.flag("from"); from != "" {
			d.Notes = append(d.Notes, fmt.Sprintf("the files come from %s, where they are built", from))
		}
		p.drafts = append(p.drafts, d)
	}
}

// majorStep marks a file's changes to another branch of releases.
const majorStep = "\x00major"

// elsewhere tells of the edits that are not in the instruction: values of the
// variables that it uses.
func (p *planner) elsewhere(s *site, edits []edit) (notes []string) {
	for _, e := range edits {
		if s.Line == 0 || e.start >= s.start && e.end <= s.end {
			continue
		}
		notes = append(notes, lineNote(s.file, e))
	}
	return notes
}

// lineNote tells what an edit makes of its line.
func lineNote(file string, e edit) string {
	start, end := strings.LastIndexByte(file[:e.start], '\n')+1, len(file)
	if n := strings.IndexByte(file[e.end:], '\n'); n >= 0 {
		end = e.end + n
	}
	return fmt.Sprintf("line %d becomes %s", 1+strings.Count(file[:start], "\n"), file[start:e.start]+e.text+strings.TrimRight(file[e.end:end], "\r"))
}

// draft is a step on an instruction.
func (p *planner) draft(kind StepKind, layer int, s *site, changes []*Change) draft {
	d := draft{Step: Step{Kind: kind, Layer: layer, Instruction: s.String()}}
	if s.Line > 0 {
		d.File, d.Line = p.Dockerfile.Path, s.Line
		d.Instruction = s.proposed(nil)
	}
	d.take(p, changes)
	return d
}

// take adds the changes with what they do.
func (d *draft) take(p *planner, changes []*Change) {
	slices.SortStableFunc(changes, func(a, b *Change) int {
		return cmp.Or(cmp.Compare(b.risk, a.risk), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From))
	})
	for _, ch := range changes {
		d.Changes = append(d.Changes, *ch)
		d.Major = d.Major || ch.Major
		d.fixes = append(d.fixes, ch.fixes...)
		for _, id := range ch.Brings {
			ip := &p.Inventory.Packages[ch.index]
			d.Brings = append(d.Brings, Ref{ID: id, Severity: "unknown", Type: ip.Type, Package: ip.Name, Version: ch.To})
		}
		for _, f := range ch.fixes {
			p.open[f] = false
		}
	}
	d.Fixes = p.refs(d.fixes)
	d.Risk = risks(d.Fixes) - risks(d.Brings)
}

// names are a few of the packages, with their versions.
func (p *planner) names(changes []*Change) string {
	const few = 3
	var list []string
	for _, ch := range changes {
		list = append(list, ch.Name+" "+ch.To)
	}
	list = slices.Compact(list)
	if n := len(list) - few; n > 0 {
		list = append(list[:few:few], fmt.Sprintf("%d more", n))
	}
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return strings.Join(list, "")
}

func (p *planner) title(changes []*Change, s *site) string {
	switch s.Verb {
	case "COPY", "ADD":
		return fmt.Sprintf("Bring %s", p.names(changes))
	}
	return fmt.Sprintf("Install %s", p.names(changes))
}

// proposed is the instruction on one line with the edits that fall into it.
func (c *site) proposed(edits []edit) string {
	var own []edit
	for _, e := range edits {
		if e.start >= c.start && e.end <= c.end {
			own = append(own, edit{e.start - c.start, e.end - c.start, e.text})
		}
	}
	if c.Line == 0 {
		return strings.Join(strings.Fields(applied(c.text, edits)), " ")
	}
	raw := applied(c.file[c.start:c.end], own)
	again := &dockerfileParser{text: raw, escape: c.escape}
	i, ok, err := again.instruction()
	if err != nil || !ok {
		return strings.Join(strings.Fields(raw), " ")
	}
	out := i.String()
	for _, h := range i.heredocs {
		out += "\n" + raw[h.start:h.end] + h.name
	}
	return out
}

// order puts the steps that remove most first, and counts what is left after each.
func (p *planner) order() {
	p.drafts = slices.DeleteFunc(p.drafts, func(d draft) bool { return len(d.Fixes) == 0 })
	slices.SortStableFunc(p.drafts, func(a, b draft) int { return cmp.Compare(b.Risk, a.Risk) })
	left := p.plan.Before
	for i := range p.drafts {
		d := &p.drafts[i]
		for _, f := range d.Fixes {
			left.add(f.Severity, -1)
		}
		for _, f := range d.Brings {
			left.add(f.Severity, 1)
		}
		d.Number, d.After = i+1, left
		p.plan.Steps = append(p.plan.Steps, d.Step)
	}
	p.plan.After = left
}

// diff changes the Dockerfile by all steps.
func (p *planner) diff() string {
	if p.Dockerfile == nil {
		return ""
	}
	var edits []edit
	for _, d := range p.drafts {
		edits = append(edits, d.edits...)
	}
	return unifiedDiff(p.Dockerfile.Path, p.Dockerfile.text, edits)
}
