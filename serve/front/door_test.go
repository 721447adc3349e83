package front

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAClosedDoorAsksToComeAgainAndAnOpenOneLetsThrough(t *testing.T) {
	var d Door
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/poll", http.NoBody))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != Soon {
		t.Errorf("closed: %d %v", w.Code, w.Header())
	}
	d.Open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	if w := ask(); w.Code != http.StatusTeapot {
		t.Errorf("open: %d", w.Code)
	}
}
