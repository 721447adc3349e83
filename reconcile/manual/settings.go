package manual

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/settings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const aboutSettings = "# Settings\n\n" +
	"This page is written from the program's own flags: " +
	"`go test . -run TestTheTableOfSettings -update` updates it.\n" + `
A flag that is marked as a setting below need not be given on every command line. It is taken from, in this order:

1. the command line
2. the environment: ` + "`BAKEHOUSE_SERVE_LISTEN` (of one command), then `BAKEHOUSE_LISTEN`" +
	` (of all that have the flag)
3. a settings file: ` + "`--config FILE`, else `BAKEHOUSE_CONFIG`, else `bakehouse.yaml`" +
	` in the working directory if there is one
4. its default

` + "```yaml" + `
store: /srv/bakehouse            # --store of every command that has it
commands:                        # what is for one command only, which beats the above
  serve: {listen: ":8443"}
  store gc: {keep: 30}           # a command below another one inherits: serve seen has the database of serve
` + "```" + `

A relative path is relative to the working directory, as on the command line. A variable that is empty counts as unset.
In the environment a list is separated by commas; in the file it is a YAML list, whose items are taken as they are.

A setting that does not exist is an error; so is a ` + "`BAKEHOUSE_`" + ` variable that looks like one misspelt.
Others that nothing reads are warned of.

**Trusted settings** decide what is trusted, run, read as a secret, overwritten, deleted or open to the network.
They are refused from a settings file that is in the git repository under review: the repository of ` + "`--repo`" + `,
or of the working directory. Whoever can get a change merged could otherwise choose them. Keep them in the environment
or in a file outside of the repository.

Other variables:

| variable | what it is |
|---|---|
| ` + "`BAKEHOUSE_CONFIG`" + ` | the settings file |
| ` + "`BAKEHOUSE_PASSPHRASE_<KEY>`" + ` | the passphrase of a key, its name in capitals, with ` +
	"`_` for `-` and `.`" + ` |
| ` + "`BAKEHOUSE_PASSWORD`" + ` | read by the host program |
| ` + "`BAKEHOUSE_STORE_PASSWORD`" + ` | the password for ` + "`--store https://SERVER?user=USER`" + ` |
| ` + "`BAKEHOUSE_CI_*`, `BAKEHOUSE_TEST_*`" + ` | read by the jobs of a forge and by tests, ignored here |
`

// Settings is the guide to all flags below root and where they can be set, in Markdown.
func Settings(root *cobra.Command) string {
	type row struct {
		flag, value string
		class       settings.Class
	}
	commands, once := map[row][]string{}, map[string][]string{}
	var order []string
	settings.Walk(root, func(c *cobra.Command, flags []*pflag.Flag) {
		path := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), root.Name()), " "), "all commands")
		order = append(order, path)
		for _, f := range flags {
			if c.InheritedFlags().Lookup(f.Name) != nil {
				continue // listed with root
			}
			if class := settings.ClassOf(f); class == settings.Once {
				once[path] = append(once[path], "`--"+f.Name+"`")
			} else {
				r := row{f.Name, defaultOf(f), class}
				commands[r] = append(commands[r], path)
			}
		}
	})
	var b strings.Builder
	b.WriteString(aboutSettings)
	b.WriteString("\n## Flags that are settings\n\n| setting | class | variable | default | commands " +
		"|\n|---|---|---|---|---|\n")
	rows := slices.SortedFunc(maps.Keys(commands), func(a, b row) int {
		return cmp.Or(cmp.Compare(a.flag, b.flag), cmp.Compare(commands[a][0], commands[b][0]))
	})
	for _, r := range rows {
		_, shared := settings.Variables(root, &pflag.Flag{Name: r.flag})
		value := ""
		if r.value != "" {
			value = "`" + r.value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", r.flag, r.class, shared, value, strings.Join(commands[r], ", "))
	}
	b.WriteString("\n## Flags for the command line only\n\n| command | flags |\n|---|---|\n")
	for _, path := range order {
		if len(once[path]) > 0 {
			fmt.Fprintf(&b, "| %s | %s |\n", path, strings.Join(once[path], ", "))
		}
	}
	return b.String()
}
