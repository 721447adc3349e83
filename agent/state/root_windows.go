package state

// asRoot is how somebody gets the rights that the updater needs.
const asRoot = "run it as administrator, such as from a prompt that was started as one"
