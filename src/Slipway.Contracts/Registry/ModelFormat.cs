namespace Slipway.Contracts.Registry;

/// <summary>What the files of a version are.</summary>
public enum ModelFormat
{
    /// <summary>An ONNX graph: served as it is.</summary>
    Onnx,

    /// <summary>An XGBoost model in its JSON or UBJ form: converted to ONNX on registration.</summary>
    Xgboost,

    /// <summary>A LightGBM model in its text form: converted to ONNX on registration.</summary>
    Lightgbm,

    /// <summary>Pickled objects, such as scikit-learn's: stored and listed, never loaded.</summary>
    Pickle,

    /// <summary>A file that names a model on another server, which runs it: requests are sent there.</summary>
    Remote,

    /// <summary>A file that names other versions, whose runs it joins.</summary>
    Chain,

    /// <summary>Files that no server here can run.</summary>
    Other,

    /// <summary>No files: a foundation model or another model bought as a service.</summary>
    External,
}
