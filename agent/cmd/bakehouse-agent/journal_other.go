//go:build !linux

package main

import "os"

func isJournal(*os.File) bool { return false }
