import type { Assembly } from './assembly.ts'

const assemblies = new WeakMap<object, unknown>()

export function rememberInternals<Tx>(app: object, assembly: Assembly<Tx>): void {
  assemblies.set(app, assembly)
}

/** The parts of an app, for `mersal/testing`; not public. */
export function internalsOf<Tx>(app: object): Assembly<Tx> {
  const assembly = assemblies.get(app)
  if (assembly === undefined) throw new TypeError('expected an app made by new Mersal()')
  return assembly as Assembly<Tx>
}
