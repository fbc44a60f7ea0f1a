import { errorText } from '../core/dead-letter.ts'

/** The fields by which a log line names an error: its code, and its text cut to a safe length. */
export function describe(error: unknown): { readonly code: string; readonly error: string } {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined
  return { code: typeof code === 'string' ? code : 'none', error: errorText(error) }
}
