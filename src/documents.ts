export { type DocumentType, document } from './app/documents/definition.ts'
export {
  type ChangeDocument,
  type Documents,
  documents,
  type DocumentSender,
  type DocumentsOptions,
  type Updated,
  type UpdateOptions,
} from './app/documents/documents.ts'
export type {
  DocumentChange,
  DocumentHandling,
  DocumentHold,
  DocumentKey,
  DocumentSaved,
  DocumentSettlement,
  DocumentStorage,
  HeldDocument,
  LoadedDocument,
} from './core/documents.ts'
