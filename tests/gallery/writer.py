"""A process that writes a gallery until it is killed: `writer.py GALLERY NAME FIRST LAST [MOST_BYTES]`.

It adds a person of four crops in a transaction, `NAME-7` for 7, and prints the number once the call has returned;
every fifth person is forgotten again at once, which is printed as `-7`.
"""

import sys

from reid_runtime.gallery import Gallery

from .tables import images, people


def main(path, name, first, last, most_bytes=None):
    if most_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), int(most_bytes)))
    with Gallery.open(path) as gallery:
        print("ready", flush=True)
        for number in range(int(first), int(last)):
            rows = people([f"{name}-{number}"], crops=4, seed=number)
            gallery.add(rows, images(rows))
            print(number, flush=True)
            if number % 5 == 4:
                gallery.forget(f"{name}-{number}")
                print(-number, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
