"""Calls the Open Inference Protocol over HTTP with Python's requests, as Triton's own client builds its requests: numpy arrays as bytes behind
the JSON, compressed bodies, keep-alive. Prints what it saw as one JSON object.  inference-requests.py http://127.0.0.1:5000"""
import gzip
import json
import struct
import sys
import zlib

import numpy
import requests

server = sys.argv[1]
session = requests.Session()  # Keeps its connection, and asks for gzip and deflate as requests always does.


def infer(model, arrays, outputs=None, compress=None, more=None, path="/v2/models/{}/infer"):
    """Tensors as numpy arrays; answers as numpy arrays by name, all as bytes behind the JSON."""
    blobs, inputs = [], []
    for name, array in arrays.items():
        if array.dtype == numpy.object_:
            blob = b"".join(struct.pack("<I", len(text)) + text for text in array.ravel())
        else:
            blob = array.tobytes()
        blobs.append(blob)
        inputs.append({"name": name, "shape": array.shape, "datatype": NAMES[array.dtype], "parameters": {"binary_data_size": len(blob)}})
    request = {"inputs": inputs, "parameters": {"binary_data_output": True}, **(more or {})}
    if outputs is not None:
        request["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    header = json.dumps(request).encode()
    body = b"".join([header, *blobs])
    headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
    if compress:
        body = gzip.compress(body) if compress == "gzip" else zlib.compress(body)
        headers["Content-Encoding"] = compress
    answer = session.post(server + path.format(model), data=body, headers=headers)
    if answer.status_code != 200:
        return {"status": answer.status_code, "error": answer.json()["error"]}
    length = int(answer.headers["Inference-Header-Content-Length"])
    result, at, found = json.loads(answer.content[:length]), length, {}
    for output in result["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = numpy.frombuffer(answer.content[at:at + size], DTYPES[output["datatype"]]).reshape(output["shape"]) \
            if output["datatype"] != "BYTES" else texts(answer.content[at:at + size])
        at += size
    assert at == len(answer.content), "bytes are left over"
    return {**result, "arrays": found, "encoding": answer.headers.get("Content-Encoding")}


def texts(blob):
    found = []
    while blob:
        (size,) = struct.unpack("<I", blob[:4])
        found.append(blob[4:4 + size].decode())
        blob = blob[4 + size:]
    return found


DTYPES = {"INT32": numpy.dtype("<i4"), "FP16": numpy.dtype("<f2"), "INT8": numpy.dtype("i1")}
NAMES = {**{dtype: name for name, dtype in DTYPES.items()}, numpy.dtype(object): "BYTES"}
numbers = numpy.arange(16, dtype="<i4").reshape(1, 16)
pair = {"INPUT0": numbers, "INPUT1": numbers}


def get(path):
    answer = session.get(server + path)
    return {"status": answer.status_code, "body": answer.json() if answer.content else None, "type": answer.headers.get("Content-Type")}


def post(path, **body):
    answer = session.post(server + path, **body)
    return {"status": answer.status_code, "body": answer.json() if answer.content else None}


def plain(name, array):
    return {"name": name, "shape": array.shape, "datatype": "INT32", "data": array.ravel().tolist()}


both = infer("simple", pair)
as_json = post("/v2/models/simple/infer", json={"id": "json-1", "inputs": [plain("INPUT0", numbers), plain("INPUT1", numbers)]})
saw = {
    "live": get("/v2/health/live"),
    "ready": get("/v2/models/simple/ready"),
    "metadata": get("/v2/models/simple"),
    "config": get("/v2/models/simple/config"),
    "both": [both["arrays"]["OUTPUT0"].tolist(), both["arrays"]["OUTPUT1"].tolist()],
    "compressed answer": both["encoding"],
    "one": list(infer("simple", pair, ["OUTPUT1"])["arrays"]),
    "gzip": infer("simple", pair, compress="gzip")["arrays"]["OUTPUT0"].tolist(),
    "deflate": infer("simple", pair, compress="deflate", path="/v2/models/{}/versions/1/infer")["arrays"]["OUTPUT0"].tolist(),
    "texts": infer("texts", {"IN": numpy.array(["größer".encode(), b""], dtype=object)})["arrays"]["OUT"],
    "halves": infer("halves", {"IN": numpy.array([0.5, -2, 65504], dtype="<f2")})["arrays"]["OUT"].tolist(),
    "json": as_json["body"],
    "statistics": get("/v2/models/simple/stats"),
    "index": post("/v2/repository/index", json={}),
    "unload": post("/v2/repository/models/texts/unload", json={}),
    "unloaded": get("/v2/models/texts/ready")["status"],
    "load": post("/v2/repository/models/texts/load", json={}),
    "loaded": get("/v2/models/texts/ready")["status"],
    "unknown": infer("nothing", pair),
    "short": infer("simple", {"INPUT0": numbers, "INPUT1": numbers[:, :15]}),
    "keys": len({infer("simple", pair, more={"id": f"request-{i}"})["id"] for i in range(200)}),
}
print(json.dumps(saw))
