import {
  isGetAccessorDeclaration,
  isTypeAliasDeclaration,
  isTypeReferenceNode,
} from 'typescript/unstable/ast/is'
import type { Node, TypeNode } from 'typescript/unstable/ast'
import { API, type Checker, type Project, type Symbol, SymbolFlags } from 'typescript/unstable/sync'
import { entries, root } from '../public-api.ts'

/** A field or a method of something exported. */
export interface Member {
  readonly name: string
  /** As it stands in the sources, on one line: of a method what it takes and returns. */
  readonly type: string
  readonly method: boolean
  readonly optional: boolean
  readonly doc: string
}

export interface Exported {
  readonly name: string
  readonly kind: 'class' | 'function' | 'interface' | 'type' | 'value'
  readonly doc: string
  /** Signatures of a function, the text of a type or of a value. */
  readonly text: readonly string[]
  readonly members: readonly Member[]
}

/** What every sub-path of the package exports: `.` → its names. */
export type Model = ReadonlyMap<string, ReadonlyMap<string, Exported>>

interface Looking {
  readonly project: Project
  readonly checker: Checker
}

/** Reads the public types and their docstrings with the compiler. */
export function readModel(): Model {
  const api = new API({ cwd: root })
  try {
    const config = `${root}/tsconfig.json`
    const project = api.updateSnapshot({ openProjects: [config] }).getProject(config)
    if (project === undefined) throw new Error(`no project ${config}`)
    const looking = { project, checker: project.checker }
    return new Map([...entries()].map(([path, file]) => [path, exportsOf(looking, file)]))
  } finally {
    api.close()
  }
}

function exportsOf(looking: Looking, declarations: string): Map<string, Exported> {
  const { project, checker } = looking
  const path = `${root}/src/${declarations.replace('.d.ts', '.ts')}`
  const file = project.program.getSourceFile(path)
  const module = file === undefined ? undefined : checker.getSymbolAtLocation(file)
  if (module === undefined) throw new Error(`${path} is no module of the project`)
  const found = new Map<string, Exported>()
  for (const symbol of checker.getExportsOfModule(module))
    found.set(symbol.name, describe(looking, symbol))
  return found
}

function describe(looking: Looking, given: Symbol): Exported {
  const { checker, project } = looking
  const symbol = (given.flags & SymbolFlags.Alias) === 0 ? given : checker.getAliasedSymbol(given)
  const nodes = symbol.declarations.flatMap((handle) => handle.resolve(project) ?? [])
  const kind = kindOf(symbol)
  const hasMembers = kind === 'interface' || kind === 'class'
  const doc = checker.getDocumentationCommentOfSymbol(symbol)
  return {
    name: given.name,
    kind,
    // Of overloads each may have a text; the same one is said once.
    doc: doc
      .split('\n\n')
      .filter((part, at, all) => all.indexOf(part) === at)
      .join('\n\n'),
    text: hasMembers ? [] : headsOf(nodes),
    members: hasMembers ? membersOf(looking, symbol) : [],
  }
}

function kindOf({ flags }: Symbol): Exported['kind'] {
  if ((flags & SymbolFlags.Class) !== 0) return 'class'
  if ((flags & SymbolFlags.Function) !== 0) return 'function'
  if ((flags & SymbolFlags.Interface) !== 0) return 'interface'
  return (flags & SymbolFlags.TypeAlias) === 0 ? 'value' : 'type'
}

function membersOf(looking: Looking, symbol: Symbol): Member[] {
  const { checker } = looking
  const type = checker.getDeclaredTypeOfSymbol(symbol)
  const isPrivate = (name: string): boolean => name.startsWith('#') || name.startsWith('__')
  return checker.getPropertiesOfType(type).flatMap((member) => {
    const nodes = member.declarations.flatMap((handle) => handle.resolve(looking.project) ?? [])
    const [node] = nodes
    if (isPrivate(member.name) || node === undefined) return []
    if (node.getSourceFile().fileName.includes('/node_modules/')) return []
    const method = isMethod(node)
    const optional = (node as { readonly questionToken?: Node }).questionToken !== undefined
    return {
      name: nameOf(node, member.name),
      type: method ? signatureOf(node) : typeOf(looking, node),
      method,
      optional: optional || (member.flags & SymbolFlags.Optional) !== 0,
      doc: checker.getDocumentationCommentOfSymbol(member) || inherited(looking, nodes),
    }
  })
}

/** What is read like a field is none, even if a function stands behind it. */
const isMethod = (node: Node): boolean =>
  (node as { readonly parameters?: unknown }).parameters !== undefined &&
  !isGetAccessorDeclaration(node)

/** Behind `Partial<…>` the compiler gives the field without its text. */
function inherited({ checker }: Looking, nodes: readonly Node[]): string {
  for (const node of nodes) {
    const named = 'name' in node ? checker.getSymbolAtLocation(node.name as Node) : undefined
    const doc = named === undefined ? '' : checker.getDocumentationCommentOfSymbol(named)
    if (doc !== '') return doc
  }
  return ''
}

const nameOf = (node: Node, name: string): string =>
  'name' in node && node.name !== undefined ? (node.name as Node).getText() : name

function signatureOf(node: Node): string {
  const text = headOf(node)
  return oneLine(text.slice(text.search(/[<(]/)))
}

function typeOf(looking: Looking, node: Node): string {
  const { type } = node as { readonly type?: TypeNode }
  return type === undefined ? '' : (choicesOf(looking, type) ?? oneLine(type.getText()))
}

/** `'skip' | 'flag'` says more than the name of that type. */
function choicesOf({ checker, project }: Looking, type: TypeNode): string | undefined {
  if (!isTypeReferenceNode(type)) return undefined
  const symbol = checker.getSymbolAtLocation(type.typeName)
  if (symbol === undefined) return undefined
  const named = (symbol.flags & SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)
  const declared = named.declarations[0]?.resolve(project)
  if (declared === undefined || !isTypeAliasDeclaration(declared)) return undefined
  const text = oneLine(declared.type.getText())
  return /^(?:\|? ?'[^']*' ?)+$/.test(text) ? text : undefined
}

const oneLine = (text: string): string =>
  text
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/([(<[]) | (?=[)>\]])/g, '$1')
    .replaceAll(/,(?=[)>\]])/g, '')
    .trim()

/** Of overloads, the one with the body is none that can be called. */
function headsOf(nodes: readonly Node[]): string[] {
  const open = nodes.filter((node) => !('body' in node && node.body !== undefined))
  return (open.length === 0 ? nodes : open).map(headOf)
}

/** A declaration without its body, its comments and the word `export`. */
function headOf(node: Node): string {
  const { body, initializer } = node as { readonly body?: Node; readonly initializer?: Node }
  const whole = node
    .getSourceFile()
    .text.slice(node.getStart(), (body ?? initializer)?.pos ?? node.end)
  return whole
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\n/gm, '')
    .replace(/^export (?:async )?/, '')
    .replace(/ =$/, '')
    .trim()
}
