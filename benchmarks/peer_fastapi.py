"""FastAPI and pydantic, written by hand as one would: the peer our figures are compared with."""

from __future__ import annotations

import sys
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(sys.argv[1])
app = FastAPI()


class Penguin(BaseModel):
    island: str | None
    sex: str | None
    bill_length_mm: float | None
    bill_depth_mm: float | None
    flipper_length_mm: float | None
    body_mass_g: float | None


class Body(BaseModel):
    rows: list[Penguin]


@app.post("/predict")
def predict(body: Body) -> dict[str, Any]:
    frame = pd.DataFrame([row.model_dump() for row in body.rows])
    return {"predictions": model.predict(frame).tolist()}


@app.get("/readyz")
def readyz() -> dict[str, str]:
    return {"state": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="warning", access_log=False)
