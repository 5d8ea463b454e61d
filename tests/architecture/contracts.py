"""Two contract types for import-linter that tolerate packages which do not exist yet."""

from collections.abc import Iterable, Iterator

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def inside(graph: ImportGraph, package: str) -> Iterator[str]:
    return (module for module in sorted(graph.modules) if within(module, [package]))


class Only(Contract):
    """Reports who imports `modules` directly (those `excepted` apart) without being one of `importers`."""

    type_name = "only"
    modules = fields.ListField(subfield=fields.StringField())
    importers = fields.ListField(subfield=fields.StringField())
    excepted = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        wanted = [m for package in self.modules for m in inside(graph, package) if m not in self.excepted]
        wrong = [
            f"{importer} imports {module}"
            for module in wanted
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if not within(importer, self.importers)
        ]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        show(check)


class Never(Contract):
    """Reports how `sources` reach `forbidden`: our own packages by any way, foreign ones by a direct import."""

    type_name = "never"
    sources = fields.ListField(subfield=fields.StringField())
    forbidden = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        pairs = [(s, f) for s in self.sources for f in self.forbidden if s in graph.modules and f in graph.modules]
        wrong = [way for source, forbidden in pairs for way in ways(graph, source, forbidden)]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        show(check)


def ways(graph: ImportGraph, source: str, forbidden: str) -> list[str]:
    if graph.is_module_squashed(forbidden):
        importers = graph.find_modules_that_directly_import(forbidden)
        return [f"{importer} imports {forbidden}" for importer in sorted(importers) if within(importer, [source])]
    return sorted(" -> ".join(c) for c in graph.find_shortest_chains(source, forbidden, as_packages=True))


def show(check: ContractCheck) -> None:
    for line in check.metadata["wrong"]:
        output.print_error(f"- {line}", bold=False)
    output.new_line()
