# uvicorn's app: a scikit-learn forest of a hundred trees of depth 6 over thirty features behind FastAPI, asked and answering as Open Inference does.
import numpy
from fastapi import FastAPI
from pydantic import BaseModel
from sklearn.ensemble import RandomForestClassifier

random = numpy.random.default_rng(1)
rows = random.random((20000, 30), dtype=numpy.float32)
labels = (rows @ numpy.arange(1, 31) + random.normal(0, 20, len(rows)) > 232).astype(int)
forest = RandomForestClassifier(n_estimators=100, max_depth=6, n_jobs=1, random_state=1).fit(rows, labels)
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    inputs: list[Tensor]


@app.get("/")
def ready():
    return "ready"


@app.post("/infer")
def infer(request: Request):
    tensor = request.inputs[0]
    matrix = numpy.asarray(tensor.data, dtype=numpy.float32).reshape(tensor.shape)
    scores = forest.predict_proba(matrix)[:, 1]
    return {"model_name": "flight-delay", "model_version": "1", "outputs": [{"name": "probability", "shape": [len(scores), 1], "datatype": "FP32", "data": scores.tolist()}]}
