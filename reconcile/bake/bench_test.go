package bake_test

import (
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// The tree of the benchmarks is what a host of examples/node-exporter gets: the real node_exporter (built through the
// module proxy) and the real host program, 27 MB, 10 MB packed, with settings of which one line differs.
//
// BenchmarkPackage is one further package of that tree, its whole SHA-256 included, and the same tree by others: in
// packages per second of processor time (so that a busy machine counts less), of elapsed time, and in bytes that a
// further package adds to the store.
//
//	go test -run - -bench Package -cpu 1 ./reconcile/bake
//
// BenchmarkMany is what a change of every host costs, as deb and rpm; BenchmarkMemory is how much memory a process
// takes at most to package one large file. For the figures below:
//
//	BAKEHOUSE_TEST_BENCH_CONFIGS=5000 BAKEHOUSE_TEST_MB=500 go test -run - -bench 'Many|Memory' -benchtime 1x -timeout 30m ./reconcile/bake
//
// On 2 cores of a Xeon with SHA extensions that others kept busy (packages per second of processor time; alone on the
// machine the hash does 160/s, and the rest in proportion):
//
//	                packages/s  a further one in the store  memory for 500 MB
//	ours, tgz             1530       0.9 KB                       66 MiB
//	ours, deb               96       1.4 KB                       66 MiB
//	ours, rpm               95       1.6 KB
//	sha256 alone           110               of 10.3 MB: what no deb and no rpm is faster than
//	nfpm, deb             0.38      10.3 MB                     1052 MiB
//	nfpm, rpm             0.45      10.3 MB
//	dpkg-deb              0.28      10.1 MB                       24 MiB
//	rpmbuild              0.27      10.1 MB
func BenchmarkPackage(b *testing.B) {
	exporter, agent := programs(b)
	rs, src, root := realFleet(exporter, agent, 1000, 0)
	packages(b, rs, src, root)
}

// BenchmarkAgent is a further package of one program of 10 MB (the real host program) with its settings: 4 MB packed.
func BenchmarkAgent(b *testing.B) {
	rs, src, root := realFleet(nil, hostProgram(b), 1000, 0)
	for _, r := range rs { // of the other plugin, the settings that make packages differ
		o := *r.Outputs[0]
		o.Files, o.Services = o.Files[:1], nil
		r.Outputs[0] = &o
	}
	packages(b, rs, src, root)
}

// packages measures a further package of rs in each format, and the same tree by others.
func packages(b *testing.B, rs []*rules.Recipe, src repo, root schema.Digest) {
	ours := map[schema.Format]float64{}
	var size int64
	for _, format := range []schema.Format{schema.Deb, schema.Rpm, schema.Tgz} {
		b.Run("ours/"+string(format), func(b *testing.B) {
			baker := bake.New(newMemory(), src)
			defer baker.Close()
			if _, err := baker.Bake(b.Context(), rs[0], format, root); err != nil {
				b.Fatal(err)
			}
			var out *bake.Baked
			ours[format] = perSecond(b, func(n int) (err error) {
				out, err = baker.Bake(b.Context(), rs[n%len(rs)], format, root)
				return err
			})
			size = out.Manifest.Size
			b.ReportMetric(float64(size), "B/package")
			b.ReportMetric(float64(len(out.Packed)), "stored-B/package")
		})
	}
	b.Run("sha256 alone", func(b *testing.B) { // what no deb can be faster than
		buf := noise(0, int(size))
		hashes := perSecond(b, func(int) error {
			sha256.Sum256(buf)
			return nil
		})
		if ours[schema.Deb] > 0 {
			b.ReportMetric(ours[schema.Deb]/hashes, "ours-times-as-fast")
		}
	})
	dir := tree(b, rs[0], src)
	rival := func(name string, format schema.Format, build func(out string) error) {
		b.Run(name, func(b *testing.B) {
			out := filepath.Join(b.TempDir(), "package")
			theirs := perSecond(b, func(int) error {
				if err := build(out); err != nil {
					return err
				}
				f, err := os.Open(out)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = io.Copy(sha256.New(), f)
				return err
			})
			if s, err := os.Stat(out); err == nil {
				b.ReportMetric(float64(s.Size()), "B/package")
				b.ReportMetric(float64(s.Size()), "stored-B/package")
			}
			if ours[format] > 0 {
				b.ReportMetric(ours[format]/theirs, "ours-times-as-fast")
			}
		})
	}
	dpkgDeb := needs.Tool(b, "dpkg-deb")
	rival("dpkg-deb", schema.Deb, func(out string) error { return exec.Command(dpkgDeb, "-Zgzip", "--build", dir, out).Run() })
	spec := rpmSpec(b, dir)
	rpmbuild := needs.Tool(b, "rpmbuild")
	rival("rpmbuild", schema.Rpm, func(out string) error {
		top := filepath.Dir(out)
		return exec.Command(rpmbuild, "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_rpmfilename package", "--define", "_rpmdir "+top, spec).Run()
	})
	program := nfpm(b)
	for _, format := range []schema.Format{schema.Deb, schema.Rpm} {
		rival("nfpm/"+string(format), format, func(out string) error {
			return nfpmInfo(rs[0], dir).packaging(b, program, string(format), out).Run()
		})
	}
}

// BenchmarkWindows is a further package for Windows of 10 MB of programs, beside the hash of as many bytes and wixl's
// package of the same files:
//
//	go test -run - -bench Windows -cpu 1 ./reconcile/bake
func BenchmarkWindows(b *testing.B) {
	src := repo{}
	rs := make([]*rules.Recipe, 1000)
	for i := range rs {
		id := schema.DigestOf([]byte(strconv.Itoa(i))).Hex()[:16]
		rs[i] = windowsExample(src, id, ":"+strconv.Itoa(1024+i))
	}
	program := src.file(rs[0].Outputs[0].Files[1].Path, 0o755, windowsProgram())
	for _, r := range rs {
		r.Outputs[0].Files[1] = program
	}
	var size int64
	ours := 0.0
	b.Run("ours", func(b *testing.B) {
		baker := bake.New(newMemory(), src)
		defer baker.Close()
		out, err := baker.Bake(b.Context(), rs[0], schema.Msi, schema.DigestOf(anchor))
		if err != nil {
			b.Fatal(err)
		}
		ours = perSecond(b, func(n int) (err error) {
			out, err = baker.Bake(b.Context(), rs[n%len(rs)], schema.Msi, schema.DigestOf(anchor))
			return err
		})
		size = out.Manifest.Size
		b.ReportMetric(float64(size), "B/package")
		b.ReportMetric(float64(len(out.Packed)), "stored-B/package")
	})
	b.Run("sha256 alone", func(b *testing.B) {
		buf := noise(0, int(size))
		b.ReportMetric(ours/perSecond(b, func(int) error { sha256.Sum256(buf); return nil }), "ours-times-as-fast")
	})
	b.Run("wixl", func(b *testing.B) {
		wixl, dir := needs.Tool(b, "wixl"), b.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.msi"), windowsProgram(), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "w.wxs"), []byte(wixSource), 0o600); err != nil {
			b.Fatal(err)
		}
		theirs := perSecond(b, func(int) error {
			cmd := exec.Command(wixl, "-o", "w.msi", "w.wxs")
			cmd.Dir = dir
			return cmd.Run()
		})
		b.ReportMetric(ours/theirs, "ours-times-as-fast")
		if s, err := os.Stat(filepath.Join(dir, "w.msi")); err == nil {
			b.ReportMetric(float64(s.Size()), "stored-B/package")
		}
	})
}

// windowsProgram is as large as a monitoring agent's.
var windowsProgram = sync.OnceValue(func() []byte { return noise(11, 10<<20) })

// perSecond runs one until the benchmark has enough, and returns how many there are in a second of processor time,
// that of child processes included.
func perSecond(b *testing.B, one func(n int) error) float64 {
	b.Helper()
	n, cpu := 0, processorTime()
	for b.Loop() {
		if err := one(n); err != nil {
			b.Fatal(err)
		}
		n++
	}
	perCPU := float64(n) / (processorTime() - cpu).Seconds()
	b.ReportMetric(perCPU, "packages/cpu-s")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "packages/s")
	return perCPU
}

// processorTime is that of this process and of the children that have ended.
func processorTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			panic(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

const rivalControl = "Package: agent\nVersion: 1\nArchitecture: amd64\nMaintainer: a <a@localhost>\nDescription: x\n"

// tree lays out a recipe's files for dpkg-deb.
func tree(t testing.TB, r *rules.Recipe, src repo) string {
	t.Helper()
	dir := t.TempDir()
	add := func(path string, mode os.FileMode, content []byte) {
		p := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, content, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			content := f.Content
			switch {
			case f.Program:
				content = src["program"]
			case f.Repo != "":
				content = src[f.Repo]
			}
			add(f.Path, f.Mode, content)
		}
	}
	add("DEBIAN/control", 0o644, []byte(rivalControl))
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rpmSpec is how rpmbuild packs that tree: gzip as ours is, and nothing done to the files.
func rpmSpec(t testing.TB, dir string) string {
	t.Helper()
	return write(t, "agent.spec", []byte("%global __os_install_post %{nil}\n%global debug_package %{nil}\n%global _build_id_links none\n%global _binary_payload w9.gzdio\n"+
		"Name: agent\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nAutoReqProv: no\n%description\nx\n"+
		"%install\ncp -a "+dir+"/etc "+dir+"/usr %{buildroot}\n%files\n/etc/*\n/usr/*\n"))
}

func nfpmInfo(r *rules.Recipe, dir string) info {
	var contents []info
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			contents = append(contents,
				info{"src": filepath.Join(dir, f.Path), "dst": f.Path, "file_info": info{"mode": f.Mode}})
		}
	}
	return info{"name": "agent", "version": "1.0.0", "arch": "amd64", "platform": "linux",
		"maintainer": "a <a@localhost>", "description": "x", "mtime": "2000-01-01T00:00:00Z", "contents": contents}
}

// BenchmarkMany bakes distinct packages as deb and rpm on all processors, as reconcile does.
func BenchmarkMany(b *testing.B) {
	many := 200
	if n, err := strconv.Atoi(os.Getenv("BAKEHOUSE_TEST_BENCH_CONFIGS")); err == nil {
		many = n
	}
	exporter, agent := programs(b)
	rs, src, root := realFleet(exporter, agent, many, 0)
	began := processorTime()
	for b.Loop() {
		st := newMemory()
		baker := bake.New(st, src)
		stored := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		next := make(chan *rules.Recipe)
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for r := range next {
					for _, format := range []schema.Format{schema.Deb, schema.Rpm} {
						out, err := baker.Bake(b.Context(), r, format, root)
						if err != nil {
							b.Error(err)
							continue
						}
						mu.Lock()
						stored += len(out.Packed)
						mu.Unlock()
					}
				}
			})
		}
		for _, r := range rs {
			next <- r
		}
		close(next)
		wg.Wait()
		baker.Close()
		for _, o := range st.objects {
			stored += len(o)
		}
		b.ReportMetric(float64(stored), "stored-B")
	}
	b.ReportMetric(float64(many), "configs")
	b.ReportMetric((processorTime()-began).Seconds()/float64(b.N), "cpu-s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
}

// BenchmarkFirstPackage is a package none of whose segments is in the store yet, and one whose segments are there but
// not known to the process.
func BenchmarkFirstPackage(b *testing.B) {
	exporter, agent := programs(b)
	rs, src, root := realFleet(exporter, agent, 1, 0)
	full := newMemory()
	for name, st := range map[string]func() *memory{"new": newMemory, "reused": func() *memory { return full }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				baker := bake.New(st(), src)
				if _, err := baker.Bake(b.Context(), rs[0], schema.Deb, root); err != nil {
					b.Fatal(err)
				}
				baker.Close()
			}
		})
	}
}
