"""Libraries that are loaded before the system's: a wall clock that can be set, and a disk whose power is cut."""

from __future__ import annotations

import mmap
import os
import pathlib
import shutil
import struct
import subprocess
import sys

import pytest

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

/* Adds the number of seconds in the file named CLOCK_SHIFT to the wall clock, and to no other. */
static volatile long long *shift;
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real_clock) begin();
    int result = real_clock(clock, time);
    if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *shift;
    return result;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *value) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (value) *value = now.tv_sec;
    return now.tv_sec;
}
"""

POWER = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Notes what is durable below POWER_FOLDER in POWER_DURABLE: of each file that is synced, its content as data/INODE; of each
   folder, its entries as names/INODE. Each note takes the place of the one before as a whole. */
static int open_note(char *temporary) {
    snprintf(temporary, PATH_MAX, "%s/%ld", getenv("POWER_DURABLE"), syscall(SYS_gettid));
    return open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void end_note(int note, const char *temporary, const char *kind, ino_t inode) {
    char path[PATH_MAX];
    close(note);
    snprintf(path, sizeof path, "%s/%s/%lu", getenv("POWER_DURABLE"), kind, (unsigned long)inode);
    rename(temporary, path);
}

static void note(int file, off_t length) {
    char link[64], path[PATH_MAX], temporary[PATH_MAX], block[1 << 16];
    const char *folder = getenv("POWER_FOLDER");
    struct stat known;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0 || !folder || strncmp(path, folder, strlen(folder)) || fstat(file, &known)) return;
    path[size] = 0;
    int out = open_note(temporary);
    if (S_ISDIR(known.st_mode)) {
        DIR *entries = opendir(path);
        for (struct dirent *entry; entries && (entry = readdir(entries));)
            if (entry->d_name[0] != '.') dprintf(out, "%lu %d %s\n", (unsigned long)entry->d_ino, entry->d_type == DT_DIR, entry->d_name);
        if (entries) closedir(entries);
        end_note(out, temporary, "names", known.st_ino);
        return;
    }
    int in = open(path, O_RDONLY | O_CLOEXEC);
    while (in >= 0 && length > 0) {
        ssize_t count = read(in, block, length < (off_t)sizeof block ? (size_t)length : sizeof block);
        if (count <= 0 || write(out, block, count) != count) break;
        length -= count;
    }
    if (in >= 0) close(in);
    end_note(out, temporary, "data", known.st_ino);
}

static int synced(const char *name, int file) {
    struct stat before;
    off_t length = fstat(file, &before) ? 0 : before.st_size;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(file);
    if (result == 0) note(file, length);
    return result;
}

int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
"""


def compiled(name: str, source: str, folder: pathlib.Path) -> pathlib.Path:
    """Returns the path of such a library, or skips the test if it cannot be made here."""
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    (folder / f"{name}.c").write_text(source)
    library = folder / f"{name}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, f"{name}.c", "-ldl"], cwd=folder, check=True)
    return library


class Clock:
    """A wall clock that can be set for the processes that are given its environment."""

    def __init__(self, library: pathlib.Path, file: pathlib.Path) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self.shift = mmap.mmap(opened.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(file)}

    def set(self, seconds: int) -> None:
        """Sets it so much before or behind the machine's."""
        self.shift[:] = struct.pack("<q", seconds)


class PoweredFolder:
    """A folder in which only what was synced outlives a power cut, for processes that are given its environment."""

    def __init__(self, library: pathlib.Path, path: pathlib.Path) -> None:
        self.path, self.durable = path, path.with_name(path.name + "-durable")
        path.mkdir()
        self._note_all()
        self.environment = {
            "LD_PRELOAD": str(library),
            "POWER_FOLDER": str(path),
            "POWER_DURABLE": str(self.durable),
        }

    def cut(self) -> None:
        """Leaves what is durable; all processes that write must have ended."""
        inode = self.path.stat().st_ino
        lost = self.path.with_name(self.path.name + "-lost")
        self.path.rename(lost)
        self._restore(self.path, inode)
        shutil.rmtree(lost)
        self._note_all()

    def _restore(self, path: pathlib.Path, inode: int) -> None:
        path.mkdir()
        names = self.durable / "names" / str(inode)
        for line in names.read_text().splitlines() if names.exists() else []:
            number, is_folder, name = line.split(" ", 2)
            data = self.durable / "data" / number
            if is_folder == "1":
                self._restore(path / name, int(number))
            elif data.exists():
                shutil.copyfile(data, path / name)
            else:
                # Its name is durable, and nothing of its content.
                (path / name).touch()

    def _note_all(self) -> None:
        shutil.rmtree(self.durable, ignore_errors=True)
        (self.durable / "data").mkdir(parents=True)
        (self.durable / "names").mkdir()
        for folder, _, _ in os.walk(self.path):
            entries = list(os.scandir(folder))
            lines = [f"{entry.inode()} {int(entry.is_dir())} {entry.name}\n" for entry in entries]
            (self.durable / "names" / str(os.stat(folder).st_ino)).write_text("".join(lines))
            for entry in entries:
                if entry.is_file():
                    shutil.copyfile(entry.path, self.durable / "data" / str(entry.inode()))
