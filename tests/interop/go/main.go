// go-spiffe, unmodified, as a caller: peer fetch | watch | loop N
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	switch os.Args[1] {
	case "fetch":
		fetch()
	case "watch":
		watch()
	case "loop":
		count, err := strconv.Atoi(os.Args[2])
		must(err)
		for range count {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			client, err := workloadapi.New(ctx)
			must(err)
			_, err = client.FetchX509SVID(ctx)
			must(err)
			must(client.Close())
			cancel()
		}
		fmt.Println("served", count)
	}
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

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
