package state

import (
	"testing"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
)

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"schema":1,"package":"bakehouse-agent","server":"https://x","interval":"1h","threshold":1,` +
		`"keys":[{"name":"a","public":"x"}],"proxy":{"mode":"explicit","url":"http://u:p@h"}}`))
	f.Add([]byte(`{"schema":1,"registration":{"server":"https://x","host":"web01","secret":"s"}}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := schema.DecodeAgentConfig(b); err == nil {
			if c.Threshold < 1 || len(c.Keys) < c.Threshold || time.Duration(c.Interval) < time.Second {
				t.Errorf("accepted: %+v", c)
			}
			describeKeys(c.Keys)
			describeProxy(c.Proxy)
			if _, err := wire.New(wire.Config{Server: c.Server, Certificates: c.Certificates, Proxy: c.Proxy}); err != nil {
				t.Errorf("an accepted config makes no client: %v", err)
			}
		}
		if s, err := decodeRecord(b); err == nil && s.Registration != nil {
			if schema.CheckHostName(s.Registration.Host) != nil {
				t.Errorf("accepted host %q", s.Registration.Host)
			}
		}
		describeAnchor(b)
		schema.ParseCertificates(string(b))
	})
}
