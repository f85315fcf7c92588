"""Takes one file out of a wheel: checks it, then puts it in place in one step.

    wheel.py WHEEL MEMBER DESTINATION [SHA256]

MEMBER is the end of the path inside the wheel. Exit status 1 says why on stderr.
"""

import hashlib
import os
import sys
import zipfile


def main():
    wheel, member, destination = sys.argv[1:4]
    expected = sys.argv[4] if len(sys.argv) > 4 else None
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if ("/" + n).endswith("/" + member)]
        if len(names) != 1:
            sys.exit(f"{os.path.basename(wheel)} holds {len(names)} files named {member}, not one")
        data = archive.read(names[0])
    found = hashlib.sha256(data).hexdigest()
    if expected and found != expected:
        sys.exit(f"{member} in {os.path.basename(wheel)} has sha256 {found}, expected {expected}")
    part = destination + ".part"
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, destination)


if __name__ == "__main__":
    main()
