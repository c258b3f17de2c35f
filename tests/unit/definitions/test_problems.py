"""What a wrong file is told: the line, the key and the sentence, all of them at once."""

import json

import pytest
from conftest import Read

from conductor.definitions.problems import DefinitionsError
from conductor.errors import UsageError
