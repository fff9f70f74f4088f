package main

import (
	"fmt"
	"syscall"
)

// mountDisk mounts a file system of so many MB at a folder, which only root may.
func mountDisk(path string, size int) error {
	return syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0755", size))
}

func unmountDisk(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }
