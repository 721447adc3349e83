#!/usr/bin/python3
"""Stands in for Solaris' pkgadd, pkgrm, pkgparam, pkgchk and removef, by the name it is called by.

It reads a datastream with the system's cpio, checks pkgmap against what came out with the system's sum, and keeps what a
package owns in ROOT/contents. It follows the manual pages and shares no code with what it checks.
"""

import os
import shutil
import subprocess
import sys
import tempfile


def fail(text):
    sys.exit(f"pkgadd: ERROR: {text}")


def cpio(stream, directory):
    """Unpacks one archive, from the next whole block on; returns where the block behind it begins."""
    os.makedirs(directory, exist_ok=True)
    stream.flush()
    end = stream.tell()
    while True:  # to the end of the entry that is called TRAILER!!!
        header = stream.read(110)
        if len(header) != 110 or header[:6] != b"070701":
            fail(f"no cpio header at {end}")
        fields = [int(header[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        size, length = fields[6], fields[11]
        name = stream.read(length + -(110 + length) % 4)[: length - 1]
        stream.seek(size + -size % 4, 1)
        if name == b"TRAILER!!!":
            break
    start, end = end, stream.tell()
    stream.seek(start)
    archive = stream.read(end - start)
    padding = stream.read(-(end - start) % 512)
    if padding.strip(b"\0"):
        fail("the padding is not zero")
    subprocess.run(["cpio", "-idm", "--quiet", "--no-absolute-filenames"], input=archive, cwd=directory, check=True)
    return archive


def checksum(path):
    out = subprocess.run(["sum", "-s", path], check=True, capture_output=True, text=True).stdout
    return int(out.split()[0])


def parameters(path):
    with open(path, encoding="ascii") as f:
        return dict(line.rstrip("\n").split("=", 1) for line in f)


def read(file, spool):
    """Checks a datastream and leaves the package's parts in spool; returns its parameters and its map."""
    with open(file, "rb") as stream:
        header = stream.read(512)
        lines = header.rstrip(b"\0").decode("ascii").split("\n")
        if len(lines) != 4 or lines[0] != "# PaCkAgE DaTaStReAm" or lines[2:] != ["# end of header", ""]:
            fail(f"header {lines}")
        name, parts, blocks = lines[1].split()
        if parts != "1":
            fail("more than one part")
        cpio(stream, os.path.join(spool, "first"))
        cpio(stream, os.path.join(spool, name))
        if stream.read(1):
            fail("something behind the last archive")
    base = os.path.join(spool, name)
    for f in ("pkginfo", "pkgmap"):
        with open(os.path.join(base, f), "rb") as a, open(os.path.join(spool, "first", name, f), "rb") as b:
            if a.read() != b.read():
                fail(f"{f} differs between the archives")
    info = parameters(os.path.join(base, "pkginfo"))
    for key in ("PKG", "NAME", "VERSION", "ARCH", "CATEGORY", "CLASSES", "BASEDIR"):
        if not info[key] or len(info[key]) > 256:
            fail(f"{key} is {info[key]!r}")
    if info["PKG"] != name or not name[0].isalpha() or len(name) > 32:
        fail("the package's name")
    objects, expected, total = [], {"pkginfo", "pkgmap"}, 0
    with open(os.path.join(base, "pkgmap"), encoding="ascii") as f:
        if f.readline() != f": 1 {blocks}\n":
            fail("pkgmap and header do not agree on the size")
        for line in f:
            words = line.rstrip("\n").split(" ")
            kind = words[1]
            if kind == "d":
                _, _, klass, path, mode, owner, group = words
                objects.append((path, None, mode, owner, group))
                total += 1
                continue
            if kind == "s":
                path, target = words[3].split("=", 1)
                objects.append((path, "-> " + target, "?", "?", "?"))
                total += 1
                continue
            if kind == "i":
                path, size, total_sum, time = words[2:]
                at = path if path == "pkginfo" else "install/" + path
            else:
                _, _, klass, path, mode, owner, group, size, total_sum, time = words
                at = "root" + path
                objects.append((path, os.path.join(base, at), mode, owner, group))
            expected.add(at)
            full = os.path.join(base, at)
            if os.path.getsize(full) != int(size) or checksum(full) != int(total_sum) or int(os.path.getmtime(full)) != int(time):
                fail(f"{path} is not as pkgmap says")
            total += (int(size) + 511) // 512
    if total != int(blocks):
        fail(f"{total} blocks, not {blocks}")
    found = {os.path.relpath(os.path.join(d, f), base) for d, _, fs in os.walk(base) for f in fs}
    if found != expected:
        fail(f"in one of archive and pkgmap only: {found ^ expected}")
    if [o[0] for o in objects] != sorted(o[0] for o in objects):
        fail("pkgmap is not sorted")
    return info, objects, base


def contents(root):
    try:
        with open(os.path.join(root, "contents")) as f:
            return f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def keep(root, paths):
    with open(os.path.join(root, "contents"), "w") as f:
        f.writelines(p + "\n" for p in sorted(set(paths)))


def script(directory, name, root, info):
    path = os.path.join(directory, name)
    if os.path.exists(path):
        env = {"PATH": os.environ["PATH"], "PKG_INSTALL_ROOT": root, "PKGINST": info["PKG"]} | info
        if subprocess.run(["/bin/sh", path], env=env, stdin=subprocess.DEVNULL).returncode:
            fail(f"{name} script did not complete successfully")


def main(tool, args):
    root, file = "/", None
    options = []
    while args:
        a = args.pop(0)
        if a == "-R":
            root = args.pop(0)
        elif a == "-d":
            file = args.pop(0)
        elif a in ("-a", "-p"):
            options.append(args.pop(0))
        elif not a.startswith("-") or tool == "removef" and a == "-f":
            options.append(a)
    saved = os.path.join(root, "var/sadm/pkg/bakehouse-agent")
    if tool == "pkgadd":
        with tempfile.TemporaryDirectory() as spool:
            info, objects, base = read(file, spool)
            script(os.path.join(base, "install"), "preinstall", root, info)
            for path, source, mode, owner, group in objects:
                to = root + path
                if source is None:
                    os.makedirs(to, exist_ok=True)
                    if mode != "?":
                        os.chmod(to, int(mode, 8))
                elif source.startswith("-> "):
                    os.makedirs(os.path.dirname(to), exist_ok=True)
                    if os.path.lexists(to):
                        os.remove(to)
                    os.symlink(source[3:], to)
                else:
                    os.makedirs(os.path.dirname(to), exist_ok=True)
                    shutil.copy2(source, to + ".new")
                    os.chmod(to + ".new", int(mode, 8))
                    os.rename(to + ".new", to)
            keep(root, contents(root) + [o[0] for o in objects if o[1] or o[2] != "?"])
            shutil.rmtree(saved, ignore_errors=True)
            shutil.copytree(base, saved, ignore=lambda d, names: [n for n in names if n == "root"])
            script(os.path.join(saved, "install"), "postinstall", root, info)
    elif tool == "removef":
        paths = options[1:] if options[0] != "-f" else []
        keep(root, [p for p in contents(root) if p not in paths])
    elif tool == "pkgrm":
        info = parameters(os.path.join(saved, "pkginfo"))
        script(os.path.join(saved, "install"), "preremove", root, info)
        for p in reversed(contents(root)):
            if os.path.isdir(root + p) and not os.path.islink(root + p):
                try:
                    os.rmdir(root + p)
                except OSError:
                    pass
            else:
                os.remove(root + p)
        keep(root, [])
        script(os.path.join(saved, "install"), "postremove", root, info)
        shutil.rmtree(saved)


main(os.path.basename(sys.argv[0]), sys.argv[1:])
