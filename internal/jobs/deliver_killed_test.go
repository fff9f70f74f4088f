package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/notify"
	"strata/internal/store"
)

// deliverProcess is the environment variable that makes TestDeliverProcess deliver.
const deliverProcess = "STRATA_TEST_DELIVER_PROCESS"

// TestDeliverProcess is no test, but what TestDeliverKilled runs: it delivers, and kills
// itself at a point.
func TestDeliverProcess(t *testing.T) {
	args := strings.Fields(os.Getenv(deliverProcess))
	if len(args) != 3 {
		t.Skip("is run by another test in processes of their own")
	}
	at, err := time.Parse(time.RFC3339, args[2])
	if err != nil {
		t.Fatal(err)
	}
	die := func() {
		if p, err := os.FindProcess(os.Getpid()); err != nil || p.Kill() != nil {
			os.Exit(9)
		}
		select {}
	}
	looks := -1 // at the clock, since it delivers
	now := func() time.Time {
		if looks >= 0 && args[1] == "grouping" {
			if looks++; looks == 2 { // what is taken is marked by the first, and notifications are made after the second
				die()
			}
		}
		return at
	}
	db, err := store.OpenDB(t.Context(), args[0], store.DBOptions{Now: now, Key: bytes.Repeat([]byte{7}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	client := &http.Client{}
	switch args[1] {
	case "sending":
		client.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			die()
			return nil, nil
		}}
	case "recording":
		client.Transport = afterwards(die)
	}
	work := DeliverWork(DeliverOptions{DB: db, Sender: notify.NewSender(client), Settle: time.Microsecond})
	if looks = 0; work.Do(t.Context(), "") != nil {
		t.Error("not delivered")
	}
}

// afterwards makes requests, and does something when they were answered.
type afterwards func()

func (f afterwards) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	f()
	return answer, err
}

// Whoever delivers is killed: while it makes notifications of violations, before it sends
// one, and when one was taken but is not recorded. All arrive, what arrives twice is the
// same delivery, and each violation is in one.
func TestDeliverKilled(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		hooks := &hook{refuse: -1}
		server := httptest.NewServer(hooks)
		defer server.Close()
		c.receiver(&store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL}})
		c.document(store.PolicyDocument, "nothing", "name: nothing\nrules:\n"+forbid("lodash")+forbid("other"))
		c.watch("nothing", "hook")
		c.put("r.example/a/web:1", lodashPicture)
		c.put("r.example/a/api:1", lodashPicture+otherPicture)
		c.judge()
		run := func(point string) []store.Notification {
			t.Helper()
			c.now = c.now.Add(10 * time.Minute) // claims have run out
			cmd := exec.Command(os.Args[0], "-test.run", "^TestDeliverProcess$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", deliverProcess, location, point, c.now.Format(time.RFC3339)))
			output, err := cmd.CombinedOutput()
			if killed := err != nil && strings.Contains(err.Error(), "killed"); killed != (point != "nowhere") || err != nil && !killed {
				t.Fatalf("%s: %v\n%s", point, err, output)
			}
			return c.all()
		}
		if all := run("grouping"); len(all) != 0 {
			t.Errorf("made before the transaction ended: %+v", all)
		}
		run("nowhere") // what is made is due a moment later
		made := run("sending")
		if ids, _ := hooks.taken(); len(made) != 2 || len(ids) != 0 {
			t.Fatalf("%d notifications, %d sent", len(made), len(ids))
		}
		run("recording")
		if ids, _ := hooks.taken(); len(ids) != 1 {
			t.Fatalf("sent %v", ids)
		}
		sent := run("nowhere")
		ids, bodies := hooks.taken()
		if len(ids) != 3 {
			t.Errorf("sent %v", ids)
		}
		want := map[string]string{}
		for i, n := range sent {
			want[n.Delivery] = ""
			if n.State != "sent" || n.Delivery != made[i].Delivery {
				t.Errorf("%+v", n)
			}
		}
		got := map[string]string{} // bodies by delivery
		for i, id := range ids {
			if body, twice := got[id]; twice && body != bodies[i] {
				t.Errorf("%s is another: %s", id, bodies[i])
			}
			got[id] = bodies[i]
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"lodash a/api", "lodash a/web", "other a/api"}, told(t, got)); diff != "" {
			t.Errorf("violations (-want +got):\n%s", diff)
		}
	})
}

// told are the rules and repositories that messages tell of, as often as they do.
func told(t *testing.T, bodies map[string]string) []string {
	t.Helper()
	var out []string
	for _, body := range bodies {
		var event struct{ Data notify.Message }
		if err := json.Unmarshal([]byte(body), &event); err != nil {
			t.Fatal(err)
		}
		for _, g := range event.Data.Groups {
			if len(g.Images) != g.ImageCount {
				t.Errorf("%d images of %d", len(g.Images), g.ImageCount)
			}
			for _, image := range g.Images {
				name, _, _ := strings.Cut(strings.TrimPrefix(image, "r.example/"), ":")
				out = append(out, g.Rule+" "+name)
			}
		}
	}
	slices.Sort(out)
	return out
}
