"""Takes the protobuf descriptors out of an Envoy binary: `python3 extract.py ENVOY envoy-VERSION.binpb.gz`.

Envoy carries the descriptors of its whole API; each is found by its name, and ends after its `syntax` or `edition`. What is written is a
`FileDescriptorSet`, compressed, the same bytes each time. The API is under the Apache License 2.0.
"""

import gzip
import mmap
import re
import sys

ROOTS = rb"envoy|xds|udpa|google|validate|opencensus|opentelemetry|cel|io|src"
NAME = re.compile(rb"\x0a([\x01-\x7f])((?:" + ROOTS + rb")/[\w/.\-]*?\.proto)")
# The fields of FileDescriptorProto by number, in the order in which they are written.
FIELDS = {2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14}


def varint(data, at):
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return result, at


def encoded(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def end_of(data, at):
    last = 1
    while at < len(data):
        try:
            tag, after = varint(data, at)
            field, wire = tag >> 3, tag & 7
            if field < last or field not in FIELDS or wire not in (0, 2):
                return at
            size, after = varint(data, after)
        except IndexError:
            return at
        at = after + size if wire == 2 else after
        last = field
        if field in (12, 14):
            return at
    return at


def main(binary, target):
    files = {}
    with open(binary, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in NAME.finditer(data):
            length, name = match[1][0], match[2]
            if length != len(name):
                continue
            descriptor = bytes(data[match.start() : end_of(data, match.end())])
            if len(descriptor) > len(files.get(name, b"")):
                files[name] = descriptor
    out = b"".join(b"\x0a" + encoded(len(files[name])) + files[name] for name in sorted(files))
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(out)
    print(f"{len(files)} files, {len(out)} bytes")


main(*sys.argv[1:])
