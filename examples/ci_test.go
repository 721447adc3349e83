package examples_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bakehouse/examples"
	"bakehouse/reconcile/plan"
	"bakehouse/schema/needs"

	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/encoding/yaml"
)

const (
	marker  = plan.Marker
	actions = "../.github/actions/bakehouse"
)

type step struct {
	Uses, Run, If string
	With, Env     map[string]any
}

type workflow struct {
	On          any
	Permissions map[string]string
	Jobs        map[string]struct {
		If, Environment string
		RunsOn          any `json:"runs-on"`
		Env             map[string]string
		Steps           []step
	}
	Runs struct { // of an action
		Using string
		Steps []step
	}
}

// readYAML decodes a YAML file. CUE's reader takes `on` for a key and not for true, as the forges do.
func readYAML(t *testing.T, file string, v any) {
	t.Helper()
	f, err := yaml.Extract(file, nil)
	if err == nil {
		err = cuecontext.New().BuildFile(f).Decode(v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingThatAPullRequestChoosesIsPartOfACommandLine(t *testing.T) {
	var action, planning, publishing workflow
	readYAML(t, actions+"/action.yml", &action)
	readYAML(t, "ci/github/plan.yml", &planning)
	readYAML(t, "ci/github/publish.yml", &publishing)
	commands := 0
	for _, s := range action.Runs.Steps {
		if s.Uses != "" {
			t.Errorf("the action uses %s: what runs with the keys is ours alone", s.Uses)
		}
		if commands++; strings.Contains(s.Run, "${{") {
			t.Errorf("%q: the forge would paste a text into the command", s.Run)
		}
	}
	if commands == 0 || action.Runs.Using != "composite" {
		t.Error("the action has no commands")
	}
	pinned := regexp.MustCompile(`^(actions/checkout@[0-9a-f]{40}|OWNER/bakehouse/\.github/actions/bakehouse@COMMIT)$`)
	for _, w := range []workflow{planning, publishing} {
		for name, j := range w.Jobs {
			for _, s := range j.Steps {
				if s.Run != "" || !pinned.MatchString(s.Uses) {
					t.Errorf("job %s: %+v is neither our action nor the forge's own checkout at a fixed commit", name, s)
				}
			}
		}
	}
}

func TestThePlanningJobHasNoKeysAndTheSigningJobTakesNothingFromPullRequests(t *testing.T) {
	text := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, word := range []string{"secrets.", "environment:", "BAKEHOUSE_CI_KEYS", "PASSPHRASE", "contents: write",
		"pull_request_target"} {
		if strings.Contains(text("ci/github/plan.yml"), word) {
			t.Errorf("plan.yml has %s", word)
		}
	}
	for _, word := range []string{"pull_request", "github.event", "head_ref", "cache", "artifact", "write"} {
		lines := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(text("ci/github/publish.yml"), "")
		if strings.Contains(lines, word) {
			t.Errorf("publish.yml has %s", word)
		}
	}
	var publishing workflow
	readYAML(t, "ci/github/publish.yml", &publishing)
	job := publishing.Jobs["publish"]
	if job.If != "github.ref == 'refs/heads/main'" || job.Environment == "" ||
		job.Steps[0].With["ref"] != "refs/heads/main" {
		t.Errorf("it may run for another branch than main: %+v", job)
	}
	if on, _ := publishing.On.(map[string]any); on["schedule"] == nil || on["push"] == nil {
		t.Errorf("it runs on %v", publishing.On)
	}
}

// As forges read it: the last pattern that matches decides, and it may name nobody.
func TestEverythingButHostsHasOwners(t *testing.T) {
	owned := func(file string) (owned bool) {
		for line := range strings.Lines(string(examples.CodeOwners)) {
			pattern, owner, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(pattern, "#") || pattern == "" {
				continue
			}
			switch matches := pattern == "*" || pattern == "/hosts/**/*.cue" && strings.HasPrefix(file, "hosts/") &&
				path.Ext(file) == ".cue"; {
			case pattern != "*" && pattern != "/hosts/**/*.cue":
				t.Fatalf("the pattern %q is not known here", pattern)
			case matches:
				owned = owner == "@OWNER"
			}
		}
		return owned
	}
	for _, file := range []string{"fleet.cue", "programs.cue", "access.cue", "keys/online.cue", "trust/2.root.json",
		"plugins/vitals/vitals.sh", "sites/muc.cue", ".github/workflows/publish.yml", ".gitlab-ci.yml", "bakehouse.yaml",
		".gitea/workflows/plan.yml", ".forgejo/workflows/plan.yml", ".woodpecker/plan.yml", ".woodpecker.yml",
		"Jenkinsfile",
		".gitattributes", "files/motd", "hosts/web/secret.key", "CODEOWNERS", ".github/CODEOWNERS", "docs/CODEOWNERS"} {
		if !owned(file) {
			t.Errorf("%s has no owner", file)
		}
	}
	if owned("hosts/hosts.cue") || owned("hosts/web/hosts.cue") {
		t.Error("each new host needs an owner's approval")
	}
}

// jobs are a forge's two jobs as command lines, with what it sets for them.
type jobs struct {
	plan, publish string
	env           []string
}

func (o *operator) github(f *forge) jobs {
	var action workflow
	readYAML(o.t, actions+"/action.yml", &action)
	var lines []string
	for _, s := range action.Runs.Steps {
		lines = append(lines, s.Run)
	}
	dir, err := filepath.Abs(actions)
	if err != nil {
		o.t.Fatal(err)
	}
	// Looked at here, the script is also a file that a cached result depends on.
	if info, err := os.Stat(filepath.Join(dir, "ci")); err != nil || info.Mode()&0o111 == 0 {
		o.t.Fatalf("the script cannot be run: %v", err)
	}
	script := strings.Join(lines, "\n")
	return jobs{
		plan: "export BAKEHOUSE_CI_RUN=pull-request\n" + script, publish: "export BAKEHOUSE_CI_RUN=reconcile\n" + script,
		env: []string{"GITHUB_ACTIONS=true", "GITHUB_ACTION_PATH=" + dir, "RUNNER_TEMP=" + filepath.Dir(o.home),
			"GITHUB_API_URL=" + f.URL,
			"GITHUB_REPOSITORY=our/fleet", "GITHUB_STEP_SUMMARY=" + filepath.Join(o.home, "summary"),
			"BAKEHOUSE_CI_PULL_REQUEST=7", "BAKEHOUSE_CI_FORK=false",
			"GITHUB_HEAD_REF=" + hostile, "GITHUB_BASE_REF=main"},
	}
}

func (o *operator) gitlab(f *forge) jobs {
	var ci struct {
		Variables map[string]string
		Bakehouse struct {
			Before []string `json:"before_script"`
		} `json:".bakehouse"`
		Plan, Publish struct{ Script []string }
	}
	readYAML(o.t, "ci/gitlab/.gitlab-ci.yml", &ci)
	// Bakehouse's own repository, as it is now.
	source := filepath.Join(o.home, "source")
	if err := copySource(source); err != nil {
		o.t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "all"}} {
		o.git(append([]string{"-C", source}, args...)...)
	}
	script := func(lines []string) string { return strings.Join(slices.Concat(ci.Bakehouse.Before, lines), "\n") }
	env := []string{"GITLAB_CI=true", "CI_API_V4_URL=" + f.URL + "/api/v4", "CI_PROJECT_ID=42", "CI_MERGE_REQUEST_IID=7",
		"CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main",
		"CI_DEFAULT_BRANCH=main",
		"CI_MERGE_REQUEST_EVENT_TYPE=detached", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME=" + hostile, "TMPDIR=" + o.home}
	for name := range maps.Keys(ci.Variables) {
		env = append(env, name+"="+map[string]string{"BAKEHOUSE_CI_GIT": source, "BAKEHOUSE_CI_COMMIT": "HEAD",
			"GIT_DEPTH": "0"}[name])
	}
	return jobs{plan: script(ci.Plan.Script), publish: script(ci.Publish.Script), env: env}
}

// copySource copies this project without its history.
func copySource(to string) error {
	return filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel("..", file)
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" && d.IsDir():
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular() || d.Name() == ".git":
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, info.Mode().Perm())
	})
}

// hostile is a branch name that git allows.
const hostile = "a;touch${IFS}pwned;$(touch${IFS}pwned)`touch${IFS}pwned`"

// newFleetOperator has a fleet made by `init`, with keys, root and a stand-in for the host program, in a bare
// repository too.
func newFleetOperator(t *testing.T, program string) (o *operator, bare string) {
	dir := t.TempDir()
	o = &operator{t: t, program: program, repo: filepath.Join(dir, "fleet"), store: filepath.Join(dir, "store"),
		home: filepath.Join(dir, "home"), keys: keys}
	programs := filepath.Join(o.home, "programs")
	for _, d := range []string{o.repo, programs} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(programs, "bakehouse-agent-linux-amd64"),
		bytes.Repeat([]byte("a host program\n"), 500), 0o755); err != nil {
		t.Fatal(err)
	}
	o.run("init", "--example", "quickstart")
	o.createKeys()
	o.run("upgrade", "--platform", "linux/amd64", "--programs", programs)
	o.commit("The fleet")
	bare = filepath.Join(dir, "bare.git")
	o.git("init", "-q", "--bare", "--initial-branch=main", bare)
	o.git("remote", "add", "origin", bare)
	o.git("push", "-q", "origin", "HEAD:main")
	return o, bare
}

// job runs a job as a forge does: in a new clone of the bare repository, at ref.
func (o *operator) job(bare, ref, script string, env ...string) (code int, out string) {
	o.t.Helper()
	work := filepath.Join(o.t.TempDir(), "work")
	o.git("clone", "-q", bare, work)
	o.git("-C", work, "fetch", "-q", "origin", ref)
	o.git("-C", work, "checkout", "-q", "--detach", "FETCH_HEAD")
	cmd := o.command("bash", "-eo", "pipefail", "-c", script)
	cmd.Dir = work
	keyless := slices.DeleteFunc(o.env(), func(v string) bool { return strings.HasPrefix(v, "BAKEHOUSE_PASSPHRASE_") })
	cmd.Env = append(append(keyless, "CI_PROJECT_DIR="+work), env...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(work, "pwned")); err == nil {
		o.t.Error("a branch's name was run as a command")
	}
	if report, err := os.ReadFile(filepath.Join(work, "bakehouse-check.json")); strings.Contains(script,
		"pull-request") && slices.Contains(env, "GITLAB_CI=true") &&
		(err != nil || !json.Valid(report)) {
		o.t.Errorf("the report is %q, %v", report, err)
	}
	if strings.Contains(string(b), "t0ken-of-the-job") {
		o.t.Errorf("the token is in the log:\n%s", b)
	}
	o.t.Logf("exit code %d:\n%s", cmd.ProcessState.ExitCode(), b)
	return cmd.ProcessState.ExitCode(), string(b)
}

// whereAPlanBelongs runs the job of pull request 7, which has its comment, as forges do besides.
func (o *operator) whereAPlanBelongs(bare string, j jobs, f *forge) {
	o.t.Helper()
	token := "BAKEHOUSE_CI_COMMENT_TOKEN=" + f.token
	ref := "refs/pull/7/merge"
	run := func(what, want string, calls int, f *forge, env ...string) {
		o.t.Helper()
		f.set(func(f *forge) { f.calls = nil })
		code, out := o.job(bare, ref, j.plan, append(slices.Clone(j.env), env...)...)
		f.set(func(f *forge) {
			if code != 0 || !strings.Contains(out, want) || !strings.Contains(out, "+DISK=77") ||
				len(f.calls) != calls {
				o.t.Errorf("%s: exit code %d, and %q", what, code, f.calls)
			}
		})
	}
	// Whoever may push can start an old run again: its plan is of what nobody is about to merge.
	before, _ := f.plan(o.t)
	head := f.head
	f.set(func(f *forge) { f.head = strings.Repeat("0", 40) })
	run("an old run", head[:12]+" is no longer the head of this pull request", 0, f, token)
	f.set(func(f *forge) { f.head = head })
	f.set(func(f *forge) { f.goes = "release" })
	run("an old run of a pull request that goes elsewhere now", "goes to release now", 0, f, token)
	f.set(func(f *forge) { f.goes = "main" })
	// The branch that it goes to went on, and so did the plan of the same head; then the run from before starts again.
	old, later := ref, "refs/pull/7/later"
	ref = later
	o.git("checkout", "-q", "--detach", "main")
	o.git("commit", "-q", "--allow-empty", "-m", "main goes on")
	o.git("push", "-q", "origin", "HEAD:refs/heads/next")
	o.git("merge", "-q", "--no-ff", "-m", "Merge", hostile)
	o.git("push", "-q", "-f", "origin", "HEAD:"+ref)
	o.git("checkout", "-q", hostile)
	run("a newer base", marker, 1, f, token)
	newer, _ := f.plan(o.t)
	if newer == before || !strings.Contains(newer, "\nHead of the change: "+head+"\n") {
		o.t.Errorf("the comment of the newer base is\n%s", newer)
	}
	ref = old
	run("an old run of the same head", "which is newer than "+o.rev("main")[:12]+": it stays as it is", 0, f, token)
	if text, _ := f.plan(o.t); text != newer {
		o.t.Errorf("an old run of the same head changed the comment to\n%s", text)
	}
	before, ref = newer, later
	run("a fork", "writes no comment", 0, f, token, "BAKEHOUSE_CI_FORK=true")
	signers := "BAKEHOUSE_CI_ALLOWED_SIGNERS=alice@example.com ssh-ed25519 " +
		"AAAAC3NzaC1lZDI1NTE5AAAAIG5vIGtleTogbm9ib2R5IGhhcyBhIHByaXZhdGUgb25l"
	if code, out := o.job(bare, ref, j.plan, append(slices.Clone(j.env), signers)...); code != 3 ||
		!strings.Contains(out, "Refused:") || !strings.Contains(out, "is not signed") {
		o.t.Errorf("a change that is not signed could not be published, and has the exit code %d", code)
	}
	f.set(func(f *forge) { f.readOnly = true })
	run("a token that may only read", "may not write comments", 1, f, token)
	f.set(func(f *forge) { f.readOnly = false })
	if after, _ := f.plan(o.t); after != before {
		o.t.Errorf("the comment was changed to\n%s", after)
	}
	// What is checked out may be no merge. The last commit of the change alone changes nothing.
	ref = "refs/heads/" + hostile
	itself := []string{token, "BAKEHOUSE_CI_HEAD=" + head, "BAKEHOUSE_CI_BASE=" + o.rev("main")}
	run("a merge queue", "writes no comment", 0, f, append(itself, "BAKEHOUSE_CI_PULL_REQUEST=",
		"GITHUB_EVENT_NAME=merge_group")...)
	if code, out := o.job(bare, ref, j.plan, append(slices.Clone(j.env), append(itself,
		"BAKEHOUSE_CI_BASE="+strings.Repeat("1", 40))...)...); code == 0 ||
		!strings.Contains(out, "fetch the whole history") {
		o.t.Errorf("a base that the clone lacks: exit code %d", code)
	}
	// A forge that answers with all comments whatever the page, and with an error to what it did.
	gitea := newForge(o.t, "gitea-actions")
	gitea.set(func(f *forge) { f.endless, f.broken, f.head = true, 1, head })
	run("a forge that breaks down", marker, 2, gitea, append(itself, "BAKEHOUSE_CI_COMMENT_TOKEN="+gitea.token,
		"GITHUB_API_URL="+gitea.URL, "GITEA_ACTIONS=true")...)
	if _, calls := gitea.plan(o.t); calls != "POST PATCH" {
		o.t.Errorf("it was asked to %s", calls)
	}
}

// plainCommands are the guide's for forges without a job of ours: of a pull request, and of the protected branch.
func (o *operator) plainCommands() (plan, publish string) {
	o.t.Helper()
	guide, err := os.ReadFile("ci/README.md")
	if err != nil {
		o.t.Fatal(err)
	}
	for line := range strings.Lines(string(guide)) {
		switch {
		case strings.HasPrefix(line, "bakehouse check && bakehouse plan "):
			plan = line
		case strings.HasPrefix(line, "bakehouse reconcile "):
			publish = line
		}
	}
	if plan == "" || publish == "" {
		o.t.Fatal("the guide has no plain commands")
	}
	return plan, publish
}

// plainly runs the guide's commands. What a change brings along does not decide what is planned of it.
func (o *operator) plainly(bare string) {
	o.t.Helper()
	plan, _ := o.plainCommands()
	path := "PATH=" + filepath.Dir(o.program) + ":" + os.Getenv("PATH")
	settings := []string{"ref: origin/main", "base: HEAD", "worktree: false", "repo: ."}
	for _, setting := range settings {
		o.write("bakehouse.yaml", setting+"\n")
		o.commit(setting)
		o.git("push", "-q", "-f", "origin", "HEAD:refs/heads/plain")
		if code, out := o.job(bare, "refs/heads/plain", plan, path); code == 0 ||
			!strings.Contains(out, "error: bakehouse.yaml:1:") {
			o.t.Errorf("%s: exit code %d", setting, code)
		}
	}
	o.git("reset", "-q", "--hard", fmt.Sprintf("HEAD~%d", len(settings)))
	o.git("rm", "-q", "bakehouse.yaml")
	o.commit("no settings")
	o.git("push", "-q", "-f", "origin", "HEAD:refs/heads/plain")
	if code, out := o.job(bare, "refs/heads/plain", plan, path); code != 0 || !strings.Contains(out, "+DISK=77") {
		o.t.Errorf("the plain plan: exit code %d", code)
	}
}

func TestAPullRequestIsPlannedInOneCommentAndPublishedWhenItIsMerged(t *testing.T) {
	needs.Tools(t, "bash", "git", "curl", "jq", "base64", "tar")
	program := filepath.Join(programs(t), "bakehouse")
	for name, of := range map[string]struct {
		bot    string
		update string
		jobs   func(*operator, *forge) jobs
	}{
		"GitHub": {"github-actions[bot]", "PATCH", (*operator).github},
		"GitLab": {"project_42_bot", "PUT", (*operator).gitlab},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "GitLab" {
				needs.All(t, "walks a second forge's whole pull request")
			}
			o, bare := newFleetOperator(t, program)
			f := newForge(t, of.bot)
			j := of.jobs(o, f)
			// ci runs the job of a pull request after what was done was pushed, and expects that exit code and comment.
			ci := func(message string, code int, calls string, want ...string) string {
				t.Helper()
				o.commit(message)
				o.git("push", "-q", "-f", "origin", "HEAD:refs/heads/"+hostile)
				ref := "refs/heads/" + hostile
				if name == "GitHub" { // it checks out the merge
					ref = "refs/pull/7/merge"
					o.git("checkout", "-q", "--detach", "main")
					o.git("merge", "-q", "--no-ff", "-m", "Merge", hostile)
					o.git("push", "-q", "-f", "origin", "HEAD:"+ref)
					o.git("checkout", "-q", hostile)
				}
				f.set(func(f *forge) { f.head = o.rev(hostile) })
				env := append(j.env, "BAKEHOUSE_CI_COMMENT_TOKEN="+f.token, "CI_MERGE_REQUEST_DIFF_BASE_SHA="+o.rev("main"))
				got, out := o.job(bare, ref, j.plan, env...)
				if got != code {
					t.Errorf("%s: exit code %d, not %d", message, got, code)
				}
				text, how := f.plan(t)
				if how != calls {
					t.Errorf("%s: the forge was asked to %q, not %q", message, how, calls)
				}
				of := fmt.Sprintf("\nHead of the change: %s\n\nCompared with: %s (main)\n", f.head, o.rev("main"))
				for _, w := range append(want, marker+"\n", of) {
					if !strings.Contains(text, w) {
						t.Errorf("%s: the comment has no %q:\n%s", message, w, text)
					}
				}
				return out
			}
			o.reconcile("--programs", filepath.Join(o.home, "programs"))
			o.git("checkout", "-q", "-b", hostile)
			o.replace("hosts/rules.cue", "disk: 75", "disk: 76")
			o.write("bakehouse.yaml", "no: {such: setting}\n") // what a change can edit is no setting of its own job
			ci("another limit", 0, "POST", "another package for 1 host", "db01", "-DISK=75", "+DISK=76")
			j.env = append(j.env, "PATH="+o.built()+":"+os.Getenv("PATH")) // built once is enough

			o.replace("hosts/rules.cue", "disk: 76", `disk: "7,6%: ::x"`)
			out := ci("not a number", 1, "POST "+of.update, "No Bakehouse plan", "\n    hosts/rules.cue:8:")
			if at := "::error file=hosts/rules.cue,line=8,col="; name == "GitHub" &&
				(!strings.Contains("\n"+out, "\n"+at) || !strings.Contains(out, "7,6%25: ::x")) {
				t.Errorf("no annotation %s", at)
			}
			if !strings.Contains(out, "hosts/rules.cue:8:") || !strings.Contains(out, `"7,6%: ::x" is not an int`) {
				t.Error("the error is not in the log, in words")
			}

			o.replace("hosts/rules.cue", `disk: "7,6%: ::x"`, "disk: 77")
			o.write("limits.cue", "package fleet\n\nlimits: removed: 0\n")
			o.replace("hosts/web/hosts.cue", "hosts: web02: address: \"192.0.2.12\"\n", "")
			ci("a host less than allowed", 1, strings.Join([]string{"POST", of.update, of.update}, " "), "**Refused:**")
			o.git("commit", "-q", "--amend", "-m", "A host less\n\nBakehouse-Remove: hosts/web 1")
			o.write("note", "x\n")
			ci("a note", 0, strings.Join([]string{"POST", of.update, of.update, of.update}, " "),
				"1 host removed from hosts/web", "+DISK=77")

			// A job that may not write comments says what it would have written.
			if code, out := o.job(bare, "refs/heads/"+hostile, j.plan,
				append(j.env, "CI_MERGE_REQUEST_DIFF_BASE_SHA="+o.rev("main"))...); code != 0 ||
				!strings.Contains(out, "writes no comment") || !strings.Contains(out, marker) {
				t.Errorf("without a token: exit code %d", code)
			}
			if name == "GitHub" {
				o.whereAPlanBelongs(bare, j, f)
				o.plainly(bare)
			}
			if code, _ := o.job(bare, "refs/heads/"+hostile, j.plan,
				append(j.env, "CI_MERGE_REQUEST_DIFF_BASE_SHA="+o.rev("main"), "BAKEHOUSE_CI_COMMENT_TOKEN=wrong")...); code == 0 {
				t.Error("a comment that the forge refuses is no error")
			}

			o.git("checkout", "-q", "main")
			o.git("merge", "-q", "--no-ff", "-m", "Merge", hostile)
			o.git("push", "-q", "origin", "main")
			keyDir := filepath.Join(o.home, ".config/bakehouse/keys")
			packed, err := exec.Command("tar", "-C", keyDir, "-cz", "online.key", "release.key").Output()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(keyDir, keyDir+".offline"); err != nil {
				t.Fatal(err)
			}
			env := append(j.env, "BAKEHOUSE_STORE="+o.store, "BAKEHOUSE_PROGRAMS="+filepath.Join(o.home, "programs"),
				"BAKEHOUSE_CI_KEYS="+base64.StdEncoding.EncodeToString(packed))
			for _, k := range keys[1:] {
				env = append(env, fmt.Sprintf("BAKEHOUSE_PASSPHRASE_%s=passphrase of %s", strings.ToUpper(k.name), k.name))
			}
			if code, out := o.job(bare, "main", j.publish, env...); code != 0 ||
				!regexp.MustCompile(`(?m)^published release 2`).MatchString(out) {
				t.Errorf("the merge is not published: exit code %d", code)
			}
			// The daily run.
			if code, out := o.job(bare, "main", j.publish, env...); code != 0 ||
				!strings.Contains(out, "nothing to publish: release 2") {
				t.Errorf("a run without a change: exit code %d", code)
			}
			_, plain := o.plainCommands()
			keyed := append(env, "BAKEHOUSE_KEY_DIR="+keyDir+".offline", "BAKEHOUSE_CONFIG=/dev/null",
				"PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
			if code, out := o.job(bare, "main", plain, keyed...); code != 0 ||
				!strings.Contains(out, "nothing to publish: release 2") {
				t.Errorf("the plain command publishes otherwise: exit code %d", code)
			}
			if code, out := o.job(bare, "main", j.publish, append(env, "BAKEHOUSE_STORE="+o.store+"x")...); code != 1 ||
				!strings.Contains(out, "has no release") {
				t.Errorf("it publishes into a store whose path is misspelt: exit code %d", code)
			}
			if left, _ := filepath.Glob(filepath.Join(o.home, "tmp.*/keys")); len(left) > 0 {
				t.Errorf("the keys stay in %v", left)
			}
			if code, _ := o.job(bare, "main", j.publish, j.env...); code == 0 {
				t.Error("without a store it publishes")
			}
		})
	}
}

// built is a folder with a `go` that takes the program which is built already.
func (o *operator) built() string {
	o.t.Helper()
	dir := filepath.Join(o.home, "bin")
	if err := os.Mkdir(dir, 0o700); err != nil {
		o.t.Fatal(err)
	}
	stub := "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\nln -sf '" + o.program + "' \"$2\"\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(stub), 0o700); err != nil {
		o.t.Fatal(err)
	}
	return dir
}

// rev is the hash of a commit.
func (o *operator) rev(name string) string {
	o.t.Helper()
	out, err := o.command("git", "rev-parse", name).Output()
	if err != nil {
		o.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
