// KEDA at the version whose examples the tests read from the module cache. Nothing of it is built here.
module github.com/queuebinding/queuebinding/internal/keda/testdata/keda

go 1.26.0

require github.com/kedacore/keda/v2 v2.21.0
