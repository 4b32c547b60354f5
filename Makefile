# Two commands: `make demo` and `make test`; everything else is in their service.

PYTHON ?= python3

.PHONY: demo test contract campaign clean

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

clean:
	rm -rf .venv .venv-test build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
