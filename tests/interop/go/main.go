// go-spiffe, unmodified, as a caller: peer fetch | tokens TOKEN | watch | watches N | loop N
package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	switch os.Args[1] {
	case "fetch":
		fetch()
	case "tokens":
		tokens(os.Args[2])
	case "watch":
		watch()
	case "watches":
		watches(count())
	case "loop":
		for range count() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			client, err := workloadapi.New(ctx)
			must(err)
			_, err = client.FetchX509SVID(ctx)
			must(err)
			must(client.Close())
			cancel()
		}
		fmt.Println("served", count())
	}
}

func count() int {
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	return count
}

func fetch() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx)
	must(err)
	defer client.Close()
	answer, err := client.FetchX509Context(ctx)
	must(err)
	for _, svid := range answer.SVIDs {
		fmt.Println("x509", svid.ID, len(svid.Certificates))
	}
	bundles, err := client.FetchX509Bundles(ctx)
	must(err)
	for _, bundle := range bundles.Bundles() {
		fmt.Println("bundle", bundle.TrustDomain().Name(), len(bundle.X509Authorities()))
	}
}

func tokens(foreign string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx)
	must(err)
	defer client.Close()
	svid, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "aud-a", ExtraAudiences: []string{"aud-b"}})
	must(err)
	bundles, err := client.FetchJWTBundles(ctx)
	must(err)
	names := []string{}
	for _, bundle := range bundles.Bundles() {
		names = append(names, bundle.TrustDomain().Name())
	}
	sort.Strings(names)
	fmt.Println("trusted", strings.Join(names, " "))
	local, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{"aud-a"})
	must(err)
	fmt.Println("local", local.ID)
	remote, err := client.ValidateJWTSVID(ctx, svid.Marshal(), "aud-b")
	must(err)
	fmt.Println("remote", remote.ID)
	federated, err := client.ValidateJWTSVID(ctx, foreign, "aud-a")
	must(err)
	fmt.Println("federated", federated.ID)
	if _, err := client.ValidateJWTSVID(ctx, svid.Marshal(), "aud-c"); err != nil {
		fmt.Println("refused", err)
	}
	if _, err := client.FetchJWTSVID(ctx, jwtsvid.Params{}); err != nil {
		fmt.Println("no audience", err)
	}
	wit, err := client.FetchWITSVID(ctx, "")
	must(err)
	fmt.Println("wit", wit.ID)
}

type watcher struct {
	seen map[string]bool
	done chan struct{}
}

func (w *watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	serial := c.DefaultSVID().Certificates[0].SerialNumber.String()
	if !w.seen[serial] {
		w.seen[serial] = true
		fmt.Println("update", serial)
	}
	if len(w.seen) == 3 {
		close(w.done)
	}
}

func (w *watcher) OnX509ContextWatchError(err error) { fmt.Println("error", err) }

func watch() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	w := &watcher{seen: map[string]bool{}, done: make(chan struct{})}
	go workloadapi.WatchX509Context(ctx, w)
	select {
	case <-w.done:
	case <-ctx.Done():
		os.Exit(1)
	}
}

// One of many watches, each with a connection of its own.
type numbered int

func (number numbered) OnX509ContextUpdate(c *workloadapi.X509Context) {
	now := time.Now().UnixMilli()
	svid := c.DefaultSVID()
	leaf := svid.Certificates[0]
	names, fits := strings.Join(leaf.DNSNames, ","), "differs"
	if names == "" {
		names = "-"
	}
	if key, ok := svid.PrivateKey.Public().(*ecdsa.PublicKey); ok && key.Equal(leaf.PublicKey) {
		fits = "fits"
	}
	fmt.Printf("update %d %d %x %d %s %s\n", now, number, leaf.SerialNumber, leaf.NotAfter.Unix(), names, fits)
}

func (number numbered) OnX509ContextWatchError(err error) {
	fmt.Printf("error %d %d %v\n", time.Now().UnixMilli(), number, err)
}

// Says every update of each watch, until stdin ends:
// update MILLISECONDS NUMBER SERIAL NOT_AFTER DNS_NAMES|- fits|differs
func watches(count int) {
	for number := range count {
		go func() {
			err := workloadapi.WatchX509Context(context.Background(), numbered(number))
			fmt.Printf("error %d %d ended: %v\n", time.Now().UnixMilli(), number, err)
		}()
	}
	io.Copy(io.Discard, os.Stdin)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
