"""What the strategy document says, as it says it: its commands, its snippet, its configuration files and figures."""

from __future__ import annotations

BEFORE_FIRST, BEFORE_LAST = 20, 39
"""The epochs that the author has recorded, and the last one before the strategy."""
NOT_RECORDED = (36, 37, 38)

RECORDED_OVERALL = 0.682
"""Overall mAP of the author's last recorded epoch."""

PHASE_1 = """python scripts/train_ball.py \\
    --config configs/resume_20_epochs_low_memory.yaml \\
    --output-dir models \\
    --resume models/checkpoint.pth
"""
PHASE_2 = """python scripts/train_ball.py \\
    --config configs/resume_with_multiscale.yaml \\
    --output-dir models \\
    --resume models/checkpoints/checkpoint_epoch_50_lightweight.pth
"""
PHASE_3A = """python scripts/train_ball.py \\
    --config configs/resume_with_higher_resolution.yaml \\
    --output-dir models \\
    --resume models/checkpoints/checkpoint_epoch_60_lightweight.pth
"""
EVALUATION_ALONE = "python scripts/comprehensive_training_evaluation.py"
EVALUATION = "python scripts/comprehensive_training_evaluation.py configs/{config}.yaml"
SNIPPET = """
import json
with open('training_evaluation_detailed.json') as f:
    data = json.load(f)
    last_epoch = max([int(k) for k in data['metrics'].keys()])
    small_map = data['metrics'][str(last_epoch)]['map_small']
    print(f"Epoch {last_epoch}: Small Objects mAP = {small_map:.4f}")
    print(f"Target: 0.65-0.70")
    print(f"Gap: {max(0, 0.65 - small_map):.4f}")
"""
"""The document runs it by `python3 << 'EOF'`."""

CONFIGS = {
    "resume_20_epochs_low_memory": {"multi_scale": False, "resolution": 1120, "start_epoch": 40, "epochs": 50},
    "resume_with_multiscale": {"multi_scale": True, "resolution": 1120, "start_epoch": 50, "epochs": 60},
    "resume_with_higher_resolution": {"multi_scale": True, "resolution": 1288, "start_epoch": 60, "epochs": 70},
}
"""The three files that the document names, with what tells them apart."""
