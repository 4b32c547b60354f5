# Two commands: `make demo` and `make test`; everything else is in their service.

PYTHON ?= python3

.PHONY: demo test contract campaign fuzz bench bench-full bench-guard clean

demo: .venv/bin/odoo-mailer
	@.venv/bin/python demo/demo.py $(if $(KEEP),--keep)

.venv/bin/odoo-mailer: setup.cfg $(wildcard mailer/*.py)
	@sh .ci/venv .venv $(PYTHON)
	@echo "Installing odoo-mailer into .venv ..."
	@.venv/bin/pip install --quiet --force-reinstall --no-deps . && .venv/bin/pip install --quiet .
	@touch $@

test:
	@sh .ci/run

# Against any server: TOKEN=... make contract URL=https://odoo.example.com ADDRESS=info@example.com
contract: .venv/bin/odoo-mailer
	@.venv/bin/pip install --quiet '.[test]'
	@ODOO_MAILER_CONTRACT_URL=$(URL) ODOO_MAILER_CONTRACT_TOKEN="$$TOKEN" \
	 ODOO_MAILER_CONTRACT_ADDRESS=$(ADDRESS) .venv/bin/pytest tests/contract

# Mail while everything fails, with a Postfix of its own, as root: make campaign SEED=... MESSAGES=...
campaign: .venv/bin/odoo-mailer
	@.venv/bin/python tests/campaign $(if $(SEED),--seed $(SEED)) $(if $(MESSAGES),--messages $(MESSAGES))

# Coverage-guided fuzzing of one of tests/fuzz/corpus: make fuzz TARGET=lmtp SECONDS=600
fuzz: .venv/bin/odoo-mailer
	@.venv/bin/pip install --quiet '.[fuzz]'
	@.venv/bin/python tests/fuzz $(TARGET) --seconds $(or $(SECONDS),600) $(if $(MERGE),--merge)

# Speed beside the peers, as root; fills in docs/performance.md. bench: under 10 minutes.
bench: .venv-bench/bin/odoo-mailer
	@.venv-bench/bin/python bench/speed $(SECTIONS)

bench-full: .venv-bench/bin/odoo-mailer
	@.venv-bench/bin/python bench/speed --full $(SECTIONS)

# Instructions and allocations instead of time; fails where they grew by more than a tenth.
bench-guard: .venv-bench/bin/odoo-mailer
	@.venv-bench/bin/python bench/speed/guard.py $(if $(ACCEPT),--accept)

.venv-bench/bin/odoo-mailer: setup.cfg bench/speed/requirements.txt $(wildcard mailer/*.py)
	@sh .ci/venv .venv-bench $(PYTHON)
	@echo "Installing odoo-mailer and its peers into .venv-bench ..."
	@.venv-bench/bin/pip install --quiet --force-reinstall --no-deps . && .venv-bench/bin/pip install --quiet . -r bench/speed/requirements.txt
	@touch $@

clean:
	rm -rf bench/c/build .venv .venv-bench .venv-test .fuzz build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
