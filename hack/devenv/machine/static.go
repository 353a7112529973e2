package machine

import "debug/elf"

// static tells whether a program needs no loader, and so no libraries.
func static(path string) bool {
	file, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
