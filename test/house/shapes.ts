import { relative } from 'node:path'
import type { Node, SourceFile } from 'typescript/unstable/ast'
import { isInterfaceDeclaration } from 'typescript/unstable/ast/is'
import { API } from 'typescript/unstable/sync'
import { root } from './sources.ts'

/** Something in a source file that can be too large. */
export interface Shape {
  /** The file and the name: `src/outbox/relay.ts: createRelay`. */
  readonly name: string
  /** Lines of a function, fields and methods of an interface. */
  readonly size: number
}

export interface Shapes {
  readonly functions: readonly Shape[]
  readonly interfaces: readonly Shape[]
}

/** Every function with a body, and every interface, below `src`. */
export function shapesOf(folder: string): Shapes {
  const api = new API({ cwd: folder })
  try {
    const snapshot = api.updateSnapshot({ openProjects: [`${folder}/tsconfig.json`] })
    const functions: Shape[] = []
    const interfaces: Shape[] = []
    for (const { program } of snapshot.getProjects()) {
      for (const file of program.getSourceFileNames()) {
        const path = relative(folder, file)
        const source = path.startsWith('src/') ? program.getSourceFile(file) : undefined
        if (source !== undefined) collect(path, source, functions, interfaces)
      }
    }
    return { functions, interfaces }
  } finally {
    api.close()
  }
}

export const shapes = (): Shapes => shapesOf(root)

function collect(path: string, source: SourceFile, functions: Shape[], interfaces: Shape[]): void {
  const lineOf = (position: number): number => source.getLineAndCharacterOfPosition(position).line
  const visit = (node: Node): undefined => {
    if (hasBody(node)) {
      const size = lineOf(node.end) - lineOf(node.getStart()) + 1
      functions.push({ name: `${path}: ${nameOf(node)}`, size })
    } else if (isInterfaceDeclaration(node)) {
      interfaces.push({ name: `${path}: ${node.name.text}`, size: node.members.length })
    }
    node.forEachChild(visit)
    return undefined
  }
  visit(source)
}

/** Functions, methods, constructors, getters: what has parameters and a body. */
function hasBody(node: Node): boolean {
  return 'parameters' in node && 'body' in node && node.body !== undefined
}

/** Its own name, or that of what it is given to. */
function nameOf(node: Node): string {
  for (const named of [node, node.parent])
    if ('name' in named && named.name !== undefined) return (named.name as Node).getText()
  return 'a function without a name'
}
