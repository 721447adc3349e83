package status

type fakeData struct{}

func testData() fakeData { return fakeData{} }

func (fakeData) Fleet() string { return "harbour" }
