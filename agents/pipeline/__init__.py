"""The steps from a base model to an aligned policy, as one resumable sequence."""

from agents.pipeline.config import STEPS, PipelineConfig
from agents.pipeline.sequence import REPORT_FILE, run_pipeline

__all__ = ["PipelineConfig", "REPORT_FILE", "STEPS", "run_pipeline"]
