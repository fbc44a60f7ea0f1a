import { postgresDialect } from '../units/statement-scan.ts'
import { endingOf, handleRevoked, transactionIsOurs } from '../units/transaction-words.ts'

/** How the handle of a library is lent to the work of a unit. */
export interface Lent<Tx> {
  /** What the work gets in place of the handle. */
  readonly tx: Tx
  /**
   * Called before the library ends the transaction: from now on the handle does nothing for the
   * work.
   */
  readonly revoke: () => void
}

/** Lets the statements of a unit through, as long as it is open. */
export interface Gate {
  /**
   * Throws for a statement that would end the transaction, and for every one after the end of the
   * unit.
   */
  admit(text: unknown): void
  readonly revoked: boolean
  revoke(): void
}

export function gate(library: string): Gate {
  let revoked = false
  return {
    admit(text) {
      if (revoked) throw handleRevoked(library)
      const ending = typeof text === 'string' ? endingOf(text, postgresDialect) : undefined
      if (ending !== undefined) throw transactionIsOurs(`${library}: ${ending.toUpperCase()}`)
    },
    get revoked() {
      return revoked
    },
    revoke: () => void (revoked = true),
  }
}

/**
 * Refuses these methods of a handle while its unit is open; the library calls them itself
 * afterwards.
 */
export function lendWithout<Tx extends object>(
  library: string,
  handle: Tx,
  target: object,
  names: readonly string[],
): Lent<Tx> {
  const own = names.map((name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const)
  for (const name of names) {
    const value = (): Promise<never> => Promise.reject(transactionIsOurs(`${library}: ${name}()`))
    Object.defineProperty(target, name, { value, configurable: true, writable: true })
  }
  return {
    tx: handle,
    revoke() {
      for (const [name, descriptor] of own) {
        if (descriptor === undefined) Reflect.deleteProperty(target, name)
        else Object.defineProperty(target, name, descriptor)
      }
    },
  }
}
